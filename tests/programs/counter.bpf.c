// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counts the calls of each process in a map, so that "no map is left" is about more than read-only data. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile int pid_filter = 0;

/* In .data, which eunomia's engine does not fill: its value is the one that the object has. */
long step = 1;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, int);
	__type(value, long);
} calls SEC(".maps");

SEC("tp/syscalls/sys_enter_write")
int count_write(void *ctx)
{
	int pid = bpf_get_current_pid_tgid() >> 32;
	long first = step, *seen;

	if (pid_filter && pid != pid_filter)
		return 0;

	seen = bpf_map_lookup_elem(&calls, &pid);
	if (seen)
		*seen += step;
	else
		bpf_map_update_elem(&calls, &pid, &first, BPF_NOEXIST);

	bpf_printk("Call %ld of write by PID %d.\n", seen ? *seen : first, pid);
	return 0;
}
