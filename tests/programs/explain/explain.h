/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs here need of <bpf/bpf_helpers.h> and <linux/bpf.h>: so clang compiles them without either. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __ksym __attribute__((section(".ksyms")))

typedef unsigned int __u32;
typedef unsigned long long __u64;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
