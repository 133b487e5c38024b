//! What is done to the host around a run: mounts that nobody else sees, libraries in front of the C library.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{Gid, Uid};

use super::site::{Ran, Site};
use crate::gate::Met;
use crate::needs::unshare;

impl Site {
    /// Runs a command again and again in a mount namespace of its own, each time after another of these lines of shell;
    /// what came of each.
    pub(super) fn run_after(&self, _: Met, stages: &[&str], command: &Command) -> Vec<Ran> {
        let [uid, gid] = [Uid::effective().as_raw(), Gid::effective().as_raw()];
        // Who is not root is only while he mounts: the lab is to see an ordinary user.
        let run = match uid {
            0 => r#""$@""#.to_owned(),
            _ => format!("unshare --user --map-user={uid} --map-group={gid} -- \"$@\""),
        };
        // The command's own folder is the checkout; what comes of it goes to ours.
        let root = command.get_current_dir().unwrap().display();
        let mut script = format!("run() {{ (cd {root} && {run}); }}\ncd {}\n", self.path("").display());
        for (number, stage) in stages.iter().enumerate() {
            script += &format!(
                "rm -f out.json\n{stage} || exit\nrun \"$@\" >{number}.out 2>{number}.err\n\
                 echo $? >{number}.code\ntest ! -e out.json || mv out.json {number}.json\n"
            );
        }
        let mut all = behind(unshare(&script), command);
        let output = all.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.is_clean();
        (0..stages.len()).map(|number| self.stage(number)).collect()
    }

    fn stage(&self, number: usize) -> Ran {
        let read = |what: &str| fs::read_to_string(self.path(&format!("{number}.{what}")));
        let report = read("json").map(|json| serde_json::from_str(&json).unwrap());
        Ran {
            code: read("code").unwrap().trim().parse().ok(),
            stdout: read("out").unwrap(),
            stderr: read("err").unwrap(),
            report: report.unwrap_or_default(),
        }
    }

    /// With a library, made of this C, whose functions come before the C library's in every program of a run.
    pub(super) fn with_library(self, code: &str) -> Self {
        // What is to be built of the lab is built without it.
        assert!(self.command(&["kernels", "list"]).status().unwrap().success());
        let [source, library] = ["library.c", "library.so"].map(|name| self.path(name));
        fs::write(&source, code).unwrap();
        let flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"];
        let made = Command::new("clang").args(flags).arg(&library).arg(&source).status();
        assert!(made.unwrap().success());
        self.with("LD_PRELOAD", library)
    }
}

/// A command as the last words of another one.
pub(super) fn behind(mut outer: Command, inner: &Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(inner.get_current_dir().unwrap());
    outer
}

/// A folder of the user's cache for a shell script.
pub(super) fn folder(site: &Site, name: &str) -> PathBuf {
    let folder = site.path(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}
