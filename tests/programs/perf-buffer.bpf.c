// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Sends a record for each call through a perf event array. No two fields ever have the same value. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct call {
	int pid;
	unsigned int number;
	unsigned long long bytes;
	char name[8];
};

const volatile int pid_filter = 0;

/* Makes the compiler describe the struct. */
const struct call *unused_call __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, unsigned int);
} numbers SEC(".maps");

struct write_arguments {
	unsigned long long common;
	long syscall;
	unsigned long long fd, buffer, count;
};

SEC("tp/syscalls/sys_enter_write")
int send_call(struct write_arguments *ctx)
{
	int pid = bpf_get_current_pid_tgid() >> 32;
	unsigned int zero = 0, *number;
	struct call call = {};

	if (pid_filter && pid != pid_filter)
		return 0;
	number = bpf_map_lookup_elem(&numbers, &zero);
	call.pid = pid;
	call.number = number ? 70 + (*number)++ : 0;
	call.bytes = ctx->count;
	__builtin_memcpy(call.name, "write\0\0", 8);
	bpf_perf_event_output(ctx, &calls, BPF_F_CURRENT_CPU, &call, sizeof(call));
	return 0;
}
