/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * elfutils 0.192 left two functions that its libelf calls out of libelf.a (sourceware.org, bug 32293; fixed in
 * 0.193). They set up and clear away a tree of raw chunks of a file, in memory that is all zeros before: an empty
 * tree with an open lock. libbpf asks for no raw chunks, so the tree stays empty, and nothing is left to do. Whoever
 * did ask would need further functions that are missing as well, and find out when linking.
 */
void eu_search_tree_init(void *tree, void *compare);
void eu_search_tree_fini(void *tree, void *free_node);

void eu_search_tree_init(void *tree, void *compare)
{
	(void)tree;
	(void)compare;
}

void eu_search_tree_fini(void *tree, void *free_node)
{
	(void)tree;
	(void)free_node;
}
