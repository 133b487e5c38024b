/* What the program sends to its reader. */
struct place {
	int x;
	int y;
};

struct event {
	int pid;
	unsigned long long when;
	char name[16];
	enum mood { CALM, BUSY } mood;
	struct place place;
	const char *where;
	unsigned char grid[2][3];
};
