// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * minimal.bpf.c by fentry: the entry of the system call's function calls the program directly, without a breakpoint. The
 * loader finds the function in the kernel's BTF.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef int pid_t;

/* The PID to print, as the initial PID namespace counts it; 0 means every process. */
const volatile pid_t pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("fentry/__x64_sys_write")
int handle_fentry(void *ctx)
{
	pid_t pid = bpf_get_current_pid_tgid() >> 32;

	if (pid_filter && pid != pid_filter)
		return 0;

	bpf_printk("BPF triggered sys_enter_write from PID %d.\n", pid);
	return 0;
}
