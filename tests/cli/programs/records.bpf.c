// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Sends a record for each write().
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct written {
	int pid;
	int parent;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} records SEC(".maps");

SEC("tp/syscalls/sys_enter_write")
int send(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct written *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);

	if (!record)
		return 0;
	record->pid = bpf_get_current_pid_tgid() >> 32;
	record->parent = BPF_CORE_READ(task, real_parent, tgid);
	bpf_get_current_comm(record->comm, sizeof(record->comm));
	bpf_ringbuf_submit(record, 0);
	return 0;
}
