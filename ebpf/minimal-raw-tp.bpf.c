// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * minimal.bpf.c by a raw tracepoint: it is hit by every system call, whatever it is, and says which in its arguments.
 */
#include <linux/bpf.h>
#include <asm/unistd.h>
#include <bpf/bpf_helpers.h>

typedef int pid_t;

/* The PID to print, as the initial PID namespace counts it; 0 means every process. */
const volatile pid_t pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* TP_PROTO(struct pt_regs *regs, long id), in the kernel's include/trace/events/syscalls.h. */
SEC("raw_tp/sys_enter")
int handle_raw_tp(struct bpf_raw_tracepoint_args *ctx)
{
	pid_t pid = bpf_get_current_pid_tgid() >> 32;

	if (ctx->args[1] != __NR_write)
		return 0;
	if (pid_filter && pid != pid_filter)
		return 0;

	bpf_printk("BPF triggered sys_enter_write from PID %d.\n", pid);
	return 0;
}
