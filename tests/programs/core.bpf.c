// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads a field of the kernel's own struct, whose offset the loader must look up in the kernel's BTF (CO-RE). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

const volatile int pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

SEC("tp/syscalls/sys_enter_write")
int read_tgid(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	int pid = BPF_CORE_READ(task, tgid);

	if (pid_filter && pid != pid_filter)
		return 0;

	bpf_printk("The kernel's struct says PID %d.\n", pid);
	return 0;
}
