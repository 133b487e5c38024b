// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Hooks a function of the kernel, and one that no kernel has. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile int pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("kprobe/hooklab_no_such_function")
int on_nothing(void *ctx)
{
	return 0;
}

SEC("kprobe/ksys_write")
int on_kprobe(void *ctx)
{
	int pid = bpf_get_current_pid_tgid() >> 32;

	if (!pid_filter || pid == pid_filter)
		bpf_printk("Function entered by PID %d.\n", pid);
	return 0;
}
