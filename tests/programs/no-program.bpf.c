// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Is an eBPF object, and holds no program. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile int pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
