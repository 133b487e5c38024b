// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Holds two programs on two tracepoints, in both spellings of the section name. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile int pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* A function of its own, so that the relocation of the global lies in .text. */
static __noinline int is_wanted(int pid)
{
	return !pid_filter || pid == pid_filter;
}

SEC("tp/syscalls/sys_enter_write")
int on_enter(void *ctx)
{
	int pid = bpf_get_current_pid_tgid() >> 32;

	if (is_wanted(pid))
		bpf_printk("PID %d enters write.\n", pid);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_write")
int on_exit(void *ctx)
{
	int pid = bpf_get_current_pid_tgid() >> 32;

	if (is_wanted(pid))
		bpf_printk("PID %d leaves write.\n", pid);
	return 0;
}
