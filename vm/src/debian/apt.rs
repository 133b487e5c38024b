//! A private apt: Debian's indexes and files with the host's transport settings and Debian's keys, without root and
//! without touching the system's own apt. `apt.conf(5)` documents every option used here.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::debian::command;
use crate::debian::mirror::Mirror;
use crate::host::write_whole;
use crate::kernel::catalog::{Archive, Debian};
use crate::kernel::error::Error;

/// Where apt keeps its helper on every distribution that has apt.
pub(crate) const HELPER: &str = "/usr/lib/apt/apt-helper";

/// Debian's keys, under the names that the package debian-archive-keyring has had.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A private apt with its state in one folder.
pub(crate) struct Apt<'a> {
    folder: &'a Path,
    pub(crate) mirror: Mirror,
    pub(crate) cancel: &'a AtomicBool,
}

/// What came of an update.
pub(crate) struct Update {
    /// Suites whose index is there and fresh, each with the file that holds it.
    pub(crate) indexes: Vec<(String, PathBuf)>,
    /// Suites that are left out, each with the reason.
    pub(crate) left_out: Vec<(String, String)>,
}

impl<'a> Apt<'a> {
    /// Sets up the configuration in `folder`; downloads nothing. Many may do this at once, with the same mirror.
    pub(crate) fn open(folder: &'a Path, mirror: Mirror, cancel: &'a AtomicBool) -> Result<Self, Error> {
        let apt = Apt { folder, mirror, cancel };
        for part in ["lists/partial", "archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        let main = folder.join("main.conf");
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
            ("Dir::Etc::sourcelist", "kernels.sources"),
        ];
        for (option, place) in places {
            text += &format!("{option} {};\n", quoted(&self.folder.join(place))?);
        }
        Ok(text + SETTINGS)
    }

    /// Fetches the suites' indexes and checks their signatures and dates; of the rolling ones, with `accept_expired`,
    /// the signatures alone.
    pub(crate) fn update(&self, debian: &Debian, accept_expired: bool) -> Result<Update, Error> {
        let keyring = KEYRINGS.iter().map(Path::new).find(|path| path.exists());
        let keyring = keyring.ok_or_else(|| Error::NoKeyring { path: KEYRINGS[0].into() })?;
        let sources = sources(debian, &self.mirror, keyring, accept_expired);
        self.forget_other_sources(&sources)?;
        self.write("kernels.sources", &sources)?;

        let mut command = self.command("apt-get");
        // Building apt's own cache of all packages takes longer than all the rest, and nobody reads it.
        command.args(["--quiet", "update", "--option", "pkgCacheFile::Generate=false"]);
        let (_, messages) = command::run(&mut command, "apt", self.cancel, || {})?;

        let mut update = Update { indexes: Vec::new(), left_out: Vec::new() };
        for (suite, _) in debian.suites() {
            match (complaint(&messages, suite), self.index_file(suite)) {
                (None, Some(file)) => update.indexes.push((suite.to_owned(), file)),
                (reason, _) => {
                    let reason = reason.unwrap_or("it has no index of packages").to_owned();
                    update.left_out.push((suite.to_owned(), reason));
                }
            }
        }
        if update.indexes.is_empty() {
            return Err(Error::Index { reason: command::summary(&messages) });
        }
        Ok(update)
    }

    /// Forgets the indexes of other sources: apt itself keeps them as long as any suite cannot be updated.
    fn forget_other_sources(&self, sources: &str) -> Result<(), Error> {
        let known = fs::read_to_string(self.folder.join("kernels.sources"));
        if known.is_ok_and(|known| known == sources) {
            return Ok(());
        }
        let lists = self.folder.join("lists");
        fs::remove_dir_all(&lists).map_err(Error::io("remove", &lists))?;
        let partial = lists.join("partial");
        fs::create_dir_all(&partial).map_err(Error::io("create", &partial))
    }

    /// The file with a suite's index. `apt-get indextargets` would tell it as well, after it has read all indexes.
    fn index_file(&self, suite: &str) -> Option<PathBuf> {
        let end = format!("_dists_{suite}_main_binary-amd64_Packages");
        let files = fs::read_dir(self.folder.join("lists")).ok()?.flatten();
        let mut files = files.map(|entry| entry.path());
        files.find(|path| {
            // With or without `.xz`, as apt pleased to keep it.
            path.is_file() && path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(&end))
                || path.to_string_lossy().ends_with(&end)
        })
    }

    /// Reads an index, decompressed, line by line.
    pub(crate) fn read_index(&self, file: &Path, mut line: impl FnMut(&[u8])) -> Result<(), Error> {
        let mut command = self.command(HELPER);
        command.arg("cat-file").arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command::spawn(&mut command, "apt")?;
        let messages = command::collect_stderr(&mut child, |_| {});
        let mut text = child.stdout.take().map(|stdout| BufReader::with_capacity(1 << 18, stdout));
        let mut buffer = Vec::new();
        while let Some(text) = &mut text {
            buffer.clear();
            let count = text.read_until(b'\n', &mut buffer).map_err(Error::io("read", file))?;
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
        if status.success() { Ok(()) } else { Err(Error::Index { reason: command::summary(&messages) }) }
    }

    /// A command of apt's that uses this state.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    /// Writes a file of the configuration, unless it has that content already: another run may be reading it.
    fn write(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
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
fn sources(debian: &Debian, mirror: &Mirror, keyring: &Path, accept_expired: bool) -> String {
    let mut text = String::new();
    let groups = [
        (Archive::Main, &debian.main, "yes"),
        (Archive::Security, &debian.security, "yes"),
        (Archive::Main, &debian.rolling, if accept_expired { "no" } else { "yes" }),
    ];
    for (archive, suites, check_valid_until) in groups {
        // One stanza for all suites of a group; they may not be empty.
        if suites.is_empty() {
            continue;
        }
        text += &format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nArchitectures: amd64\nSigned-By: {}\n\
             Check-Valid-Until: {check_valid_until}\n\n",
            mirror.base(archive),
            suites.join(" "),
            keyring.display(),
        );
    }
    text
}

/// A path in the quotes of `apt.conf`, which knows no escapes.
fn quoted(path: &Path) -> Result<String, Error> {
    match path.to_str().filter(|text| !text.contains(['"', '\n'])) {
        Some(text) => Ok(format!("\"{text}\"")),
        None => Err(Error::Index { reason: format!("apt cannot use the path {}", path.display()) }),
    }
}

/// What apt has to say against a suite: the first error or warning that names it.
fn complaint<'a>(messages: &'a str, suite: &str) -> Option<&'a str> {
    let names = [format!("/dists/{suite}/"), format!(" {suite} InRelease"), format!(" {suite} Release")];
    messages.lines().find_map(|line| {
        let text = line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: "))?;
        names.iter().any(|name| text.contains(name)).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_suite_that_is_named_is_complained_about() {
        let messages = "W: Download is performed unsandboxed as root as file '/x_dists_trixie_InRelease'\n\
                        E: Release file for http://m.example/dists/sid/InRelease is expired (invalid since 16d).\n\
                        W: GPG error: http://m.example trixie-backports InRelease: not signed\n\
                        E: The repository 'http://m.example forky Release' does not have a Release file.\n";
        assert!(complaint(messages, "sid").unwrap().contains("expired"));
        assert!(complaint(messages, "trixie-backports").unwrap().contains("not signed"));
        assert!(complaint(messages, "forky").unwrap().contains("does not have"));
        assert_eq!(complaint(messages, "trixie"), None);
        assert_eq!(complaint(messages, "bookworm"), None);
    }

    #[test]
    fn each_archive_has_its_own_suites() {
        let debian = Debian {
            flavours: vec![],
            main: vec!["bookworm".into(), "trixie".into()],
            security: vec!["bookworm-security".into()],
            rolling: vec!["sid".into()],
        };
        let mirror = Mirror::find(Some("http://m.example/debian"), None, &debian).unwrap();
        let text = sources(&debian, &mirror, Path::new("/keys.gpg"), true);
        assert!(text.contains("URIs: http://m.example/debian/\nSuites: bookworm trixie\n"), "{text}");
        assert!(
            text.contains("URIs: http://m.example/debian-security/\nSuites: bookworm-security\n"),
            "{text}"
        );
        assert_eq!(text.matches("Signed-By: /keys.gpg").count(), 3, "{text}");
        let unchecked: Vec<&str> =
            text.split("\n\n").filter(|stanza| stanza.ends_with("Until: no")).collect();
        assert!(matches!(unchecked[..], [stanza] if stanza.contains("Suites: sid\n")), "{text}");
        assert!(!sources(&debian, &mirror, Path::new("/keys.gpg"), false).contains("Until: no"));
    }
}
