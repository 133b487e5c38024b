// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * minimal.bpf.c with one word taken out, to show a bug: its `pid_filter` is `const`, no longer `const volatile`.
 *
 * clang takes the initial value for the final one and drops the comparison. The variable itself stays in
 * .rodata, so setting it succeeds, and the program prints every process all the same.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define volatile
#include "minimal.bpf.c"
