//! A private apt: Debian's indexes and files with the host's transport settings and Debian's keys, without root and
//! without touching the system's own apt. `apt.conf(5)` documents every option used here.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::command;
use super::error::Error;
use super::mirror::Mirror;
use super::package::Archive;
use super::suites::Suites;
use super::trouble::Trouble;
use crate::host::{FileError, write_whole};

/// Where apt keeps its helper on every distribution that has apt.
pub(crate) const HELPER: &str = "/usr/lib/apt/apt-helper";

/// The package that has Debian's keys.
const KEYRING_PACKAGE: &str = "debian-archive-keyring";

/// Debian's keys, under the names that this package has had.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A private apt with its state in one directory.
pub(crate) struct Apt<'a> {
    directory: &'a Path,
    architecture: &'static str,
    pub(super) mirror: Mirror,
    pub(super) cancel: &'a AtomicBool,
}

/// A suite that is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) suite: String,
    /// Why; without one it has no index of packages.
    pub(crate) trouble: Option<Trouble>,
}

/// What came of an update.
pub(crate) struct Update {
    /// Suites whose index is there and fresh, each with the file that holds it.
    pub(super) indexes: Vec<(String, PathBuf)>,
    /// Suites that are left out.
    pub(super) left_out: Vec<LeftOut>,
}

impl<'a> Apt<'a> {
    /// Sets up the configuration in `directory`; downloads nothing. Many may do this at once, with the same mirror.
    pub(super) fn open(
        directory: &'a Path,
        mirror: Mirror,
        architecture: &'static str,
        cancel: &'a AtomicBool,
    ) -> Result<Self, Error> {
        let apt = Apt { directory, architecture, mirror, cancel };
        for part in ["lists/partial", "archives/partial"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).map_err(FileError::of("create", &path))?;
        }
        let main = directory.join("main.conf");
        // Read first; it names the file that is read last, after the host's apt.conf.d.
        apt.write("apt.conf", &format!("Dir::Etc::main {};\n", quoted(&main)?))?;
        apt.write("main.conf", &apt.configuration()?)?;
        apt.write("status", "")?;
        Ok(apt)
    }

    /// The host's own settings, and over them what makes this apt private.
    fn configuration(&self) -> Result<String, Error> {
        let mut text = String::new();
        let host = [env::var_os("APT_CONFIG").map(PathBuf::from), Some(PathBuf::from("/etc/apt/apt.conf"))];
        for path in host.into_iter().flatten().filter(|path| path.is_file()) {
            text += &format!("#include {};\n", quoted(&path)?);
        }
        // Hooks, other indexes and other sources of the host have no place here.
        for list in [
            "APT::Update::Pre-Invoke",
            "APT::Update::Post-Invoke",
            "APT::Update::Post-Invoke-Success",
            "Acquire::IndexTargets",
            "Dir::Etc::sourceparts",
        ] {
            text += &format!("#clear {list};\n");
        }
        let places = [
            ("Dir::State", ""),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", ""),
            ("Dir::Cache::archives", "archives"),
            ("Dir::Etc::sourcelist", "debian.sources"),
        ];
        for (option, place) in places {
            text += &format!("{option} {};\n", quoted(&self.directory.join(place))?);
        }
        Ok(text + SETTINGS)
    }

    /// Fetches the suites' indexes and checks their signatures and dates; of the rolling ones, with `accept_expired`,
    /// the signatures alone.
    pub(super) fn update(&self, suites: &Suites, accept_expired: bool) -> Result<Update, Error> {
        let keyring = KEYRINGS.iter().map(Path::new).find(|path| path.exists());
        let keyring =
            keyring.ok_or_else(|| Error::NoKeyring { path: KEYRINGS[0].into(), package: KEYRING_PACKAGE })?;
        let sources = sources(suites, &self.mirror, self.architecture, keyring, accept_expired);
        self.forget_other_sources(&sources)?;
        self.write("debian.sources", &sources)?;

        let mut command = self.command("apt-get");
        // Building apt's own cache of all packages takes longer than all the rest, and nobody reads it.
        command.args(["--quiet", "update", "--option", "pkgCacheFile::Generate=false"]);
        let (_, messages) = command::run(&mut command, "apt", self.cancel, || {})?;

        let mut update = Update { indexes: Vec::new(), left_out: Vec::new() };
        for (suite, _) in suites.iter() {
            let suite = suite.to_owned();
            match (Trouble::with_suite(&messages, &suite), self.index_file(&suite)) {
                (None, Some(file)) => update.indexes.push((suite, file)),
                (trouble, _) => update.left_out.push(LeftOut { suite, trouble }),
            }
        }
        if update.indexes.is_empty() {
            return Err(Error::Index(Trouble::of(&messages)));
        }
        Ok(update)
    }

    /// Forgets the indexes of other sources: apt itself keeps them as long as any suite cannot be updated.
    fn forget_other_sources(&self, sources: &str) -> Result<(), Error> {
        let known = fs::read_to_string(self.directory.join("debian.sources"));
        if known.is_ok_and(|known| known == sources) {
            return Ok(());
        }
        let lists = self.directory.join("lists");
        fs::remove_dir_all(&lists).map_err(FileError::of("remove", &lists))?;
        let partial = lists.join("partial");
        Ok(fs::create_dir_all(&partial).map_err(FileError::of("create", &partial))?)
    }

    /// The file with a suite's index. `apt-get indextargets` would tell it as well, after it has read all indexes.
    fn index_file(&self, suite: &str) -> Option<PathBuf> {
        let end = format!("_dists_{suite}_main_binary-{}_Packages", self.architecture);
        let files = fs::read_dir(self.directory.join("lists")).ok()?.flatten();
        let mut files = files.map(|entry| entry.path());
        files.find(|path| {
            // With or without `.xz`, as apt pleased to keep it.
            path.is_file() && path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(&end))
                || path.to_string_lossy().ends_with(&end)
        })
    }

    /// Reads an index, decompressed, line by line.
    pub(super) fn read_index(&self, file: &Path, mut line: impl FnMut(&[u8])) -> Result<(), Error> {
        let mut command = self.command(HELPER);
        command.arg("cat-file").arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command::spawn(&mut command, "apt")?;
        let messages = command::collect_stderr(&mut child, |_| {});
        let mut text = child.stdout.take().map(|stdout| BufReader::with_capacity(1 << 18, stdout));
        let mut buffer = Vec::new();
        while let Some(text) = &mut text {
            buffer.clear();
            let count = text.read_until(b'\n', &mut buffer).map_err(FileError::of("read", file))?;
            if count == 0 || self.cancel.load(Ordering::Relaxed) {
                break;
            }
            line(buffer.strip_suffix(b"\n").unwrap_or(&buffer));
        }
        if self.cancel.load(Ordering::Relaxed) {
            command::end(&mut child);
            return Err(Error::Cancelled);
        }
        let status = child.wait().map_err(|source| command::failed(&command, "apt", source))?;
        let messages = messages.join().unwrap_or_default();
        if status.success() { Ok(()) } else { Err(Error::Index(Trouble::of(&messages))) }
    }

    /// A command of apt's that uses this state.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.directory.join("apt.conf"));
        command
    }

    /// Writes a file of the configuration, unless it has that content already: another run may be reading it.
    fn write(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.directory.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == content) {
            return Ok(());
        }
        Ok(write_whole(&path, content.as_bytes())?)
    }
}

/// Settings that are the same everywhere. Signatures and dates are checked however lax the host's own settings are.
const SETTINGS: &str = r#"Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::IndexTargets::deb::Packages {
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  Optional "false";
  KeepCompressed "true";
  KeepCompressedAs "xz";
};
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Check-Valid-Until "true";
Acquire::Check-Date "true";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
"#;

/// The sources of all suites, in the form of `sources.list(5)`.
fn sources(
    suites: &Suites,
    mirror: &Mirror,
    architecture: &str,
    keyring: &Path,
    accept_expired: bool,
) -> String {
    let mut text = String::new();
    let groups = [
        (Archive::Main, &suites.main, "yes"),
        (Archive::Security, &suites.security, "yes"),
        (Archive::Main, &suites.rolling, if accept_expired { "no" } else { "yes" }),
    ];
    for (archive, names, check_valid_until) in groups {
        // One stanza for all suites of a group; they may not be empty.
        if names.is_empty() {
            continue;
        }
        text += &format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nArchitectures: {architecture}\nSigned-By: {}\n\
             Check-Valid-Until: {check_valid_until}\n\n",
            mirror.base(archive),
            names.join(" "),
            keyring.display(),
        );
    }
    text
}

/// A path in the quotes of `apt.conf`, which knows no escapes.
fn quoted(path: &Path) -> Result<String, Error> {
    match path.to_str().filter(|text| !text.contains(['"', '\n'])) {
        Some(text) => Ok(format!("\"{text}\"")),
        None => Err(Error::Path(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_archive_has_its_own_suites() {
        let suites = Suites {
            main: vec!["bookworm".into(), "trixie".into()],
            security: vec!["bookworm-security".into()],
            rolling: vec!["sid".into()],
        };
        let mirror = Mirror::find(Some("http://m.example/debian"), None, &suites).unwrap();
        let text = sources(&suites, &mirror, "amd64", Path::new("/keys.gpg"), true);
        assert!(text.contains("URIs: http://m.example/debian/\nSuites: bookworm trixie\n"), "{text}");
        assert!(
            text.contains("URIs: http://m.example/debian-security/\nSuites: bookworm-security\n"),
            "{text}"
        );
        assert_eq!(text.matches("Signed-By: /keys.gpg").count(), 3, "{text}");
        let unchecked: Vec<&str> =
            text.split("\n\n").filter(|stanza| stanza.ends_with("Until: no")).collect();
        assert!(matches!(unchecked[..], [stanza] if stanza.contains("Suites: sid\n")), "{text}");
        assert!(!sources(&suites, &mirror, "amd64", Path::new("/keys.gpg"), false).contains("Until: no"));
    }
}
