// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Wants a tracepoint that no kernel has. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp/syscalls/sys_enter_hooklab")
int never_called(void *ctx)
{
	return 0;
}
