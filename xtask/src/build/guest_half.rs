//! The programs that go into guests, as this checkout builds them.

use std::path::PathBuf;

use anyhow::Result;
use hooklab::lab::{GuestHalf, GuestPrograms, Lab, Need};
use hooklab::setup::{find_program, library};
use hooklab_vm::event::Observer;

use super::Programs;
use crate::checkout::Checkout;

/// What it takes to build the programs for guests, static as they are.
const NEEDS: &[Need] = &[
    Need { package: "make", is_there: |_| find_program("make").is_some() },
    Need { package: "pkg-config", is_there: |_| find_program("pkg-config").is_some() },
    Need { package: "libelf-dev", is_there: |_| library("libelf.a").is_some() },
    Need { package: "zlib1g-dev", is_there: |_| library("libz.a").is_some() },
];

impl GuestHalf for Checkout {
    fn needs(&self) -> &'static [Need] {
        NEEDS
    }

    fn programs(&self, lab: &Lab, observer: &dyn Observer) -> Result<GuestPrograms> {
        Ok(super::build(self, lab, &Programs::default(), observer)?.guest)
    }

    fn packager(&self, lab: &Lab, observer: &dyn Observer) -> Result<PathBuf> {
        super::build_packager(self, lab, observer)
    }
}
