// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Writes a line for each task, as an iterator of the kernel. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile int pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));
struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

SEC("iter/task")
int on_task(struct bpf_iter__task *ctx)
{
	static const char format[] = "task %d\n";
	struct task_struct *task = ctx->task;
	unsigned long long pid;

	if (!task || (pid_filter && task->tgid != pid_filter))
		return 0;
	pid = task->tgid;
	bpf_seq_printf(ctx->meta->seq, format, sizeof(format), &pid, sizeof(pid));
	return 0;
}
