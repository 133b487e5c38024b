// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Has no global `pid_filter`: it runs, and a loader that is asked for a filter refuses it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp/syscalls/sys_enter_write")
int print_all(void *ctx)
{
	bpf_printk("write\n");
	return 0;
}
