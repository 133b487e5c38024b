//! Faults, each caused for real, in a guest or around it: what comes of them, and that nothing is left over.
//! `cargo xtask test faults` runs these.

mod cache;
mod clock;
mod disk;
mod guest;
mod kvm;
mod network;
mod qemu;
mod signals;
