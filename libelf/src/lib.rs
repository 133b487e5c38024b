//! Makes static programs link where the host's `libelf.a` is that of elfutils 0.192 (Debian 13, Ubuntu 25.04), which calls
//! two functions that it lacks. There is nothing to call: whoever links libelf statically has this linked as well.
