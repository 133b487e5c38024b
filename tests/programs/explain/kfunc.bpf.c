// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* kfunc: one that no kernel has. libbpf looks for it before the kernel sees any program, so that none loads. */
#include "explain.h"

extern int hooklab_has_no_such_kfunc(int value) __ksym;

SEC("tc")
int calls_missing_kfunc(void *ctx)
{
	return hooklab_has_no_such_kfunc(0);
}

SEC("tc")
int calls_none(void *ctx)
{
	return 0;
}
