// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One of each: types, data sections, maps and attach points, for the description of them all.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "everything.h"

typedef unsigned int u32;
typedef struct place place_t;
enum level { LOW, HIGH = 70000 };
union either {
	int number;
	char letters[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, int);
	__type(value, struct event);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
} list SEC(".maps");

const volatile _Bool flag = 0;
const volatile long long wide = 0;
const volatile char text[12] = "";
const volatile u32 numbers[2][3] = {};
const volatile short small = 0;
const volatile enum level level = LOW;
const volatile struct place place = {};
const volatile place_t other_place = {};
const volatile union either either = {};
static volatile const int hidden = 7;

volatile int counter;
volatile double measure;
volatile u32 *pointer;

volatile unsigned long written = 1;
int elsewhere SEC(".data.elsewhere") = 2;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp/syscalls/sys_enter_write")
int on_enter(void *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->pid = counter++ + hidden + small + wide + written + elsewhere;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("kprobe/ksys_write")
int on_kprobe(void *ctx)
{
	u32 key = 0, *value = bpf_map_lookup_elem(&list, &key);
	struct event *event = bpf_map_lookup_elem(&table, &key);

	return value && event ? *value + event->pid : 0;
}

SEC("xdp")
int on_packet(struct xdp_md *ctx)
{
	return XDP_PASS;
}
