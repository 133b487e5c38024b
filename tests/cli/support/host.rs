//! What is done to the host around a run: mounts that nobody else sees, programs and libraries that come before the
//! host's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::unistd::{Gid, Uid};

use super::environment::read;
use super::{Ran, TestEnv};
use crate::gate::Met;
use crate::needs::unshare;

impl TestEnv {
    /// Runs a command in a mount namespace of its own, once after each of these lines of shell; what came of each.
    pub(crate) fn run_after(&self, _: Met, stages: &[&str], command: &Command) -> Vec<Ran> {
        let [uid, gid] = [Uid::effective().as_raw(), Gid::effective().as_raw()];
        // Who is not root is only while he mounts: hooklab is to see an ordinary user.
        let run = match uid {
            0 => r#""$@""#.to_owned(),
            _ => format!("unshare --user --map-user={uid} --map-group={gid} -- \"$@\""),
        };
        // The command's own directory is the checkout; what comes of it goes to ours.
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
        let path = |what: &str| self.path(&format!("{number}.{what}"));
        let text = |what: &str| fs::read(path(what)).unwrap();
        let code = fs::read_to_string(path("code")).unwrap().trim().parse().ok();
        self.ran(code, &text("out"), &text("err"), read(&path("json")))
    }

    /// Adds a library, built from this C code, whose functions come before the C library's in every program of a run.
    pub(crate) fn with_library(self, code: &str) -> Self {
        // xtask is built without it.
        self.run(&["kernels", "list"]).exits_with(0);
        let [source, library] = ["library.c", "library.so"].map(|name| self.path(name));
        fs::write(&source, code).unwrap();
        let flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"];
        let made = Command::new("clang").args(flags).arg(&library).arg(&source).status();
        assert!(made.unwrap().success());
        self.with("LD_PRELOAD", library)
    }

    /// Puts a shell script in the place of QEMU; in it, `qemu` is the real one.
    pub(crate) fn with_qemu(self, script: &str) -> Self {
        let name = "qemu-system-x86_64";
        let path = std::env::var_os("PATH").unwrap();
        let real = std::env::split_paths(&path).map(|bin| bin.join(name)).find(|path| path.exists());
        let script =
            format!("#!/bin/bash\nqemu() {{ exec {} \"$@\"; }}\n{script}\n", real.unwrap().display());
        let bin = self.directory("bin");
        fs::write(bin.join(name), script).unwrap();
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).unwrap();
        self.with("PATH", path)
    }
}

/// A command as the last words of another one.
pub(crate) fn behind(mut outer: Command, inner: &Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.current_dir(inner.get_current_dir().unwrap());
    outer
}
