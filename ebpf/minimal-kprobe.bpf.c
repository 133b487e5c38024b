// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * minimal.bpf.c by a kprobe on the function that the system call enters: __x64_sys_write on x86-64. `ksyscall` leaves its
 * name to the loader, since each architecture has one of its own.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef int pid_t;

/* The PID to print, as the initial PID namespace counts it; 0 means every process. */
const volatile pid_t pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("ksyscall/write")
int handle_kprobe(void *ctx)
{
	pid_t pid = bpf_get_current_pid_tgid() >> 32;

	if (pid_filter && pid != pid_filter)
		return 0;

	bpf_printk("BPF triggered sys_enter_write from PID %d.\n", pid);
	return 0;
}
