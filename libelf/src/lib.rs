//! Lets static programs link with the `libelf.a` of elfutils 0.192 (Debian 13, Ubuntu 25.04), which calls two functions
//! that it lacks. It has no API: crates that link libelf statically depend on it.
