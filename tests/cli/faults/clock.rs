//! The host's clock jumping, by years, forth and back, between one look and the next.

use std::fs;

use crate::support::{ONE, TestEnv, misbehaving};

/// The clock of the day in every program of a run; the one that measures time spans goes on as ever.
const JUMPING: &str = r"
    #define _GNU_SOURCE
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>

    static const long years[] = {0, 20, -15, 3, -30, 50};
    static unsigned looks;

    static long jump(void) {
        return years[__atomic_fetch_add(&looks, 1, __ATOMIC_RELAXED) % 6] * 365 * 24 * 60 * 60;
    }
    int clock_gettime(clockid_t clock, struct timespec *now) {
        int failed = syscall(SYS_clock_gettime, clock, now);
        if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
            now->tv_sec += jump();
        return failed;
    }
    int gettimeofday(struct timeval *restrict now, void *restrict zone) {
        struct timespec exact;
        clock_gettime(CLOCK_REALTIME, &exact);
        *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
        return 0;
    }
    time_t time(time_t *place) {
        struct timespec exact;
        clock_gettime(CLOCK_REALTIME, &exact);
        if (place)
            *place = exact.tv_sec;
        return exact.tv_sec;
    }
";

#[test]
fn a_clock_that_jumps_changes_neither_verdicts_nor_durations() {
    let env = TestEnv::with_own_cache(&["kernels"]);
    let machines = env.directory("cache/machines");
    let env = env.with_library(JUMPING);
    let binary = misbehaving();
    let tests = ["failures::passes", "failures::hangs"];
    // The first boots and saves, the second resumes that.
    for start in ["boot", "resume"] {
        let begin = std::time::Instant::now();
        let words = ["-k", "6.12", "-j", "1", "--binary", &binary, tests[0], tests[1], "--timeout", "2"];
        let ran = env.vm_test(&words);
        let took = begin.elapsed().as_secs_f64();
        assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.kernel()["start"], start, "{}", ran.stderr);
        assert_eq!(ran.outcomes(), ["failures::hangs timed-out", "failures::passes passed"]);
        let seconds = |what: &serde_json::Value| what.as_f64().unwrap();
        assert!((0.0..took).contains(&seconds(&ran.test(tests[0])["seconds"])), "{}", ran.report);
        assert!((2.0..took).contains(&seconds(&ran.test(tests[1])["seconds"])), "{}", ran.report);
        assert!((0.0..took).contains(&seconds(&ran.kernel()["boot_seconds"])), "{}", ran.report);
        for what in [&ran.kernel()["wall_seconds"], &ran.report["wall_seconds"]] {
            assert!((2.0..took).contains(&seconds(what)), "{}", ran.report);
        }
    }
    let kept = || {
        let names = fs::read_dir(&machines).unwrap().flatten().map(|entry| entry.file_name());
        names.filter(|name| !name.to_string_lossy().starts_with('.')).count()
    };
    assert_eq!(kept(), 1);
    // Each takes the other's room, while it is in use.
    let env = env.with("HOOKLAB_SAVED_MIB", "1");
    let ran = env.vm_test(&["-k", "6.12", "-k", "7.3", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    assert_eq!(kept(), 1, "there is room for one");
    TestEnv::shared().next_run_passes();
}
