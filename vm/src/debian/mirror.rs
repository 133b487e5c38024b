//! Where Debian's archives are: what the user says, else what the host's own apt sources say. No host is named here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::command;
use super::error::Error;
use super::package::Archive;
use super::suites::Suites;

/// The template of Debian's sources that python-apt ships, for hosts whose own sources are another distribution's.
const TEMPLATE: &str = "/usr/share/python-apt/templates/Debian.info";

/// What sources may call Debian's releases instead of by their code names.
const ALIASES: [&str; 5] = ["stable", "oldstable", "oldoldstable", "testing", "unstable"];

/// The two archives' addresses, each with a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    main: String,
    security: String,
}

impl Mirror {
    /// The mirror that the user named, or else the one of the host's own sources.
    pub(super) fn find(main: Option<&str>, security: Option<&str>, suites: &Suites) -> Result<Self, Error> {
        if let Some(main) = main {
            let main = checked(main)?;
            let security = security.map_or_else(|| Ok(security_of(&main)), checked)?;
            return Ok(Mirror { main, security });
        }
        let mut mirror = match from_targets(&index_targets()?, suites) {
            Some(mirror) => mirror,
            None => fs::read_to_string(TEMPLATE)
                .ok()
                .and_then(|text| from_template(&text))
                .ok_or(Error::NoMirror)?,
        };
        if let Some(security) = security {
            mirror.security = checked(security)?;
        }
        Ok(mirror)
    }

    /// What an index of these suites is made from; another list means another index.
    pub(super) fn sources(&self, suites: &Suites, accept_expired: bool) -> Vec<String> {
        let sources = suites.iter().map(|(suite, archive)| format!("{}{suite}", self.base(archive)));
        sources.chain(accept_expired.then(|| "the rolling ones even if expired".to_owned())).collect()
    }

    /// An archive's address, with a slash at the end.
    pub(super) fn base(&self, archive: Archive) -> &str {
        match archive {
            Archive::Main => &self.main,
            Archive::Security => &self.security,
        }
    }
}

/// A URL that apt's sources can hold, with a slash at the end.
fn checked(url: &str) -> Result<String, Error> {
    if !url.contains(":/") || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::NoUrl(url.to_owned()));
    }
    Ok(format!("{}/", url.trim_end_matches('/')))
}

/// Where the security archive is by custom: beside the main one, with `-security` at the end of its name.
fn security_of(main: &str) -> String {
    format!("{}-security/", main.trim_end_matches('/'))
}

/// The host's sources, one line for each: release, component, address.
fn index_targets() -> Result<String, Error> {
    let mut command = Command::new("apt-get");
    // apt would build its cache of all packages for this, which takes seconds: let it find none.
    command.args(["indextargets", "--option", "APT::Get::IndexTargets::ReleaseInfo=false"]);
    command.args(["--option", "Dir::State::lists=/nonexistent", "--option", "Dir::State::status=/dev/null"]);
    command.args(["--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let output = command::spawn(&mut command, "apt")?
        .wait_with_output()
        .map_err(|source| command::failed(&command, "apt", source))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One of the host's sources.
struct Target<'a> {
    release: &'a str,
    uri: &'a str,
}

/// Finds Debian's archives among the host's sources.
fn from_targets(text: &str, suites: &Suites) -> Option<Mirror> {
    let targets: Vec<Target> = text.lines().filter_map(target).collect();
    let names = |suites: &[String], suffix: &str| {
        let aliases = ALIASES.iter().map(|alias| format!("{alias}{suffix}"));
        suites.iter().cloned().chain(aliases).collect::<Vec<String>>()
    };
    let of_main = [&suites.main[..], &suites.rolling].concat();
    let main = best(&targets, &names(&of_main, ""), "debian")?;
    let security = best(&targets, &names(&suites.security, "-security"), "debian-security");
    Some(Mirror { security: security.unwrap_or_else(|| security_of(&main)), main })
}

/// Reads a line of [`index_targets`].
fn target(line: &str) -> Option<Target<'_>> {
    let mut words = line.split_whitespace();
    let (release, component, uri) = (words.next()?, words.next()?, words.next()?);
    (component == "main").then_some(Target { release, uri })
}

/// The likeliest address of an archive with these suites. Other vendors' archives use Debian's release names as well,
/// so the name alone proves nothing; a wrong choice is caught later, by the signature.
fn best(targets: &[Target], suites: &[String], custom: &str) -> Option<String> {
    let score = |target: &Target| {
        let updates = format!("{}-updates", target.release);
        let has_updates = targets.iter().any(|other| other.uri == target.uri && other.release == updates);
        let customary_name = target.uri.trim_end_matches('/').ends_with(&format!("/{custom}"));
        2 * u8::from(has_updates) + u8::from(customary_name)
    };
    let wanted = |target: &&Target| {
        suites.iter().any(|suite| suite == target.release) && !target.uri.starts_with("cdrom:")
    };
    // Of equals the first: `max_by_key` would take the last.
    let target = targets.iter().filter(wanted).rev().max_by_key(|target| score(target))?;
    checked(&first_of_list(target.uri)).ok()
}

/// apt's `mirror+file:` names a file that lists mirrors; single files can be downloaded only from one of them.
fn first_of_list(uri: &str) -> String {
    let listed = uri.strip_prefix("mirror+file:").and_then(|path| {
        let text = fs::read_to_string(Path::new(path.trim_end_matches('/'))).ok()?;
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
        line.split_whitespace().next().map(str::to_owned)
    });
    listed.unwrap_or_else(|| uri.to_owned())
}

/// Finds the addresses in python-apt's template: stanzas with `Suite:` and `BaseURI:`.
fn from_template(text: &str) -> Option<Mirror> {
    let base = |wanted: &str| {
        text.split("\n\n").find_map(|stanza| {
            let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            (field("Suite:")? == wanted).then(|| field("BaseURI:"))?
        })
    };
    let main = checked(base("{series}")?).ok()?;
    // What it says of the security archive leads to the updates' own host, whose directories differ.
    Some(Mirror { security: security_of(&main), main })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites() -> Suites {
        Suites {
            main: vec!["bookworm".into(), "trixie".into()],
            security: vec!["bookworm-security".into(), "trixie-security".into()],
            rolling: vec!["sid".into()],
        }
    }

    fn mirror(main: &str, security: &str) -> Option<Mirror> {
        Some(Mirror { main: main.into(), security: security.into() })
    }

    #[test]
    fn the_host_s_sources_give_both_archives() {
        let text = "bookworm-security main http://s.example/debian-security/\n\
                    bookworm contrib http://c.example/debian/\n\
                    bookworm main http://m.example/debian/\n\
                    trixie main http://second.example/debian/\n";
        assert_eq!(
            from_targets(text, &suites()),
            mirror("http://m.example/debian/", "http://s.example/debian-security/")
        );
        let by_alias = "stable main http://m.example/d/\nstable-security main http://s.example/s/\n";
        assert_eq!(from_targets(by_alias, &suites()), mirror("http://m.example/d/", "http://s.example/s/"));
    }

    #[test]
    fn other_vendors_with_debian_s_release_names_are_passed_over() {
        let text = "bookworm main https://apt.vendor.example/\n\
                    bookworm stable https://containers.example/linux/debian/\n\
                    bookworm main https://apt.other.example/debian/\n\
                    bookworm main http://m.example/deb/\n\
                    bookworm-updates main http://m.example/deb/\n";
        assert_eq!(
            from_targets(text, &suites()).map(|mirror| mirror.main).as_deref(),
            Some("http://m.example/deb/")
        );
        let without_updates =
            "bookworm main https://apt.vendor.example/\nbookworm main http://m.example/debian/\n";
        let found = from_targets(without_updates, &suites()).map(|mirror| mirror.main);
        assert_eq!(found.as_deref(), Some("http://m.example/debian/"));
    }

    #[test]
    fn without_a_security_source_the_customary_place_is_taken() {
        let text = "trixie main http://m.example/debian/\n";
        assert_eq!(
            from_targets(text, &suites()),
            mirror("http://m.example/debian/", "http://m.example/debian-security/")
        );
    }

    #[test]
    fn another_distribution_s_sources_give_nothing() {
        let text = "noble main http://u.example/ubuntu/\nnoble-security main http://u.example/ubuntu/\n";
        assert_eq!(from_targets(text, &suites()), None);
    }

    #[test]
    fn the_template_gives_both_archives() {
        let text = "X-Exclude-Suites: buzz\n\nSuite: {series}\nRepositoryType: deb\nBaseURI: https://m.example/debian/\n\n\
                    Suite: {series}-security\nBaseURI: https://s.example/\n";
        assert_eq!(
            from_template(text),
            mirror("https://m.example/debian/", "https://m.example/debian-security/")
        );
        assert_eq!(from_template("nothing here"), None);
    }

    #[test]
    fn the_user_s_word_wins_and_must_be_a_url() {
        let find = |main, security| Mirror::find(Some(main), security, &suites());
        assert_eq!(
            find("http://me.example/debian", None).ok(),
            mirror("http://me.example/debian/", "http://me.example/debian-security/")
        );
        assert_eq!(
            find("http://me.example/d/", Some("http://me.example/s")).ok(),
            mirror("http://me.example/d/", "http://me.example/s/")
        );
        let error = find("not a url", None).unwrap_err().to_string();
        assert_eq!(error, "failed to find a Debian mirror: `not a url` is no URL");
    }

    #[test]
    fn a_list_of_mirrors_stands_for_its_first() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# mirrors\nhttp://a.example/debian/\tpriority:1\nhttp://b.example/\n")
            .unwrap();
        let uri = format!("mirror+file:{}/", file.path().display());
        assert_eq!(first_of_list(&uri), "http://a.example/debian/");
        assert_eq!(first_of_list("http://m.example/"), "http://m.example/");
    }
}
