// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Prints the PID of every process that calls write(2), or of one process alone.
 *
 * The lines appear in /sys/kernel/tracing/trace_pipe.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef int pid_t;

/*
 * The PID to print, as the initial PID namespace counts it; 0 means every process.
 *
 * A loader writes the value before the kernel sees the program. clang cannot know that, and `const` alone
 * would let it compute with the 0 that stands here: `volatile` makes it read the variable at run time.
 */
const volatile pid_t pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp/syscalls/sys_enter_write")
int handle_tp(void *ctx)
{
	/* The upper half is the thread group, which user space calls the PID; the lower half is the thread. */
	pid_t pid = bpf_get_current_pid_tgid() >> 32;

	if (pid_filter && pid != pid_filter)
		return 0;

	bpf_printk("BPF triggered sys_enter_write from PID %d.\n", pid);
	return 0;
}
