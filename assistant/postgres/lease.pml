/* A model of leases, claims and fences of one conversation, for Spin 6. Run it by hand when what guards writes, claims or
 * burials changes; without an error it takes minutes and about a gigabyte:
 *
 *	spin -a lease.pml && cc -O2 -o pan pan.c && ./pan -a -m100000
 *
 * Each statement in the database is one step. A lease may run out at any time, and a node may be stopped between any two
 * steps and go on with what it believed. These must find an error (give them to spin -a):
 *
 *	-DNOFENCE                  writes look at no claim
 *	-DNOHOLDER -DFAILOVER      they compare the fence alone, and a failover to a standby may undo the last claim
 *
 * With -DFAILOVER alone there must be none; that search is long, -DBITSTATE for cc makes it feasible.
 */
#ifndef NODES
#define NODES 2
#endif
#define NONE 255
byte holder = NONE, fence = 0, epoch = 0, seq = 0;
byte old_holder = NONE, old_fence = 0, old_seq = 0;  /* what a stale standby has */
bool alive[NODES], streaming = false;
byte writer = NONE;            /* who began the answer that streams; only the check looks at it */
byte wfence = 0;
bool bad = false;
byte answers = 0, failovers = 0;

#ifdef NOFENCE
#define OK(me, f) (true)
#else
#ifdef NOHOLDER
#define OK(me, f) (fence == f)
#else
#define OK(me, f) (holder == me && fence == f)
#endif
#endif

proctype Node(byte me) {
	byte f = 0; bool have = false; bool begun = false; byte s = 0;
	byte steps = 0;
	do
	:: steps < 7 -> steps++;
	   if
	   :: !have -> atomic { /* acquire */
		if
		:: holder == NONE && alive[me] -> old_holder = holder; old_fence = fence; old_seq = seq;
			holder = me; fence++; f = fence; s = seq; have = true; begun = false
		:: else
		fi }
	   :: have && !begun -> atomic { /* begin */
		if
		:: OK(me, f) -> if :: streaming -> bad = true :: else fi; /* two answers at once */
			streaming = true; writer = me; wfence = f; begun = true; answers++
		:: else -> have = false
		fi }
	   :: have && begun -> atomic { /* extend */
		if
		:: OK(me, f) -> if :: !streaming || writer != me || wfence != f -> bad = true :: else fi;
			seq = s + 1; s++
		:: else -> have = false; begun = false
		fi }
	   :: have && begun -> atomic { /* finish */
		if
		:: OK(me, f) -> if :: !streaming || writer != me || wfence != f -> bad = true :: else fi;
			streaming = false; begun = false
		:: else -> have = false; begun = false
		fi }
	   :: have && !begun -> atomic { /* release */
		if :: OK(me, f) -> holder = NONE; seq = s :: else fi; have = false }
	   :: have -> have = false; begun = false /* crash: forgets; its lease will run out */
	   fi
	:: steps >= 7 -> break
	od
}

proctype World() {
	byte n, k = 0;
	do
	:: k < 4 -> k++;
	   if
	   :: select(n : 0 .. NODES-1); alive[n] = false      /* the lease of n has run out and it is buried: its row is gone */
	   :: atomic { (holder != NONE && !alive[holder]) -> holder = NONE; fence++; epoch++; seq = 0; streaming = false; writer = NONE } /* take */
#ifdef FAILOVER
	   :: atomic { failovers == 0 && old_holder == NONE && holder != NONE && !streaming -> failovers++; holder = old_holder; fence = old_fence; seq = old_seq }
#endif
	   :: select(n : 0 .. NODES-1); alive[n] = true       /* comes back under another id in truth; here the id is used again, which is worse */
	   fi
	:: k >= 4 -> break
	od
}

init { byte i; atomic { i = 0; do :: i < NODES -> alive[i] = true; run Node(i); i++ :: else -> break od; run World() } }
ltl safe { [] !bad }
