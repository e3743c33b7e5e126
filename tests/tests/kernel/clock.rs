//! Clocks that are a year off, and jump: offsets and order do not follow them.

use super::host::{Answer, Host};
use super::program::{Place, Program, Until};
use super::{host, scratch, skip, text, tool};

const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;

#[test]
fn a_clock_that_is_years_off_moves_no_record() {
    let name = "clock::a_clock_that_is_years_off_moves_no_record";
    let now = match tool("faketime", &["-f", "+0d", "date", "+%Y"]) {
        Ok(now) => now,
        Err(reason) => return skip(name, &reason),
    };
    let later = tool("faketime", &["-f", "+800d", "date", "+%Y"]).unwrap();
    assert_ne!(now, later, "the harness moves no clock");
    let dir = scratch();
    let mut place = Place::new(Program::Ringlog, dir.path(), &[]);
    for (round, off) in ["+0d", "+366d", "-366d", "+3660d", "-18000d", "+0d"].iter().enumerate() {
        let mut command = place.command(
            &["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", off],
            &["append", "t", "--print-acks"],
        );
        let ended = place.append_by(&mut command, 200, Until::ItsEnd);
        assert!(ended.status.success(), "{off}: {ended:?}");
        assert_eq!(ended.acknowledged, 200);
        place.check(round % 2 == 0).unwrap_or_else(|lost| panic!("{off}: {lost}"));
    }
    // The records have the times that the clock said, which proves that it was off.
    let times = times(&place);
    assert_eq!(times.len(), 1200);
    assert!(times[200] - times[0] >= YEAR_MS && times[0] - times[400] >= YEAR_MS, "{times:?}");
}

/// The timestamps of all records, in milliseconds.
fn times(place: &Place) -> Vec<i64> {
    let out = String::from_utf8(place.run(&["read", "t", "--json"]).unwrap()).unwrap();
    out.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| record["timestamp_ms"].as_i64().unwrap())
        .collect()
}

/// The library that `faketime` puts before a program's own clock.
fn preload() -> Result<String, String> {
    let env = tool("faketime", &["-f", "+0d", "env"])?;
    let found = env.lines().find_map(|line| line.strip_prefix("LD_PRELOAD="));
    found.map(str::to_owned).ok_or_else(|| "faketime preloads nothing".to_owned())
}

#[test]
fn a_clock_that_jumps_in_a_running_process_moves_no_record_and_stops_nothing() {
    let name = "clock::a_clock_that_jumps_in_a_running_process_moves_no_record_and_stops_nothing";
    let preload = match preload() {
        Ok(preload) => preload,
        Err(reason) => return skip(name, &reason),
    };
    let dir = scratch();
    let offset = dir.path().join("offset");
    let jump = |to: &str| std::fs::write(&offset, format!("{to}\n")).unwrap();
    jump("+0d");
    let mut place = Place::new(Program::Ringlog, dir.path(), &[]);
    let mut command = host::command(&place.data, "timeout=20000", &[]);
    // Read anew at every look at the clock.
    command.env("LD_PRELOAD", preload).env("FAKETIME_TIMESTAMP_FILE", text(&offset));
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut host = Host::start(command).unwrap();
    let jumps = ["+0d", "+800d", "-18000d", "+3660d", "-1d", "+0d"];
    for to in jumps {
        // Some are on their way when it jumps.
        host.tell_append(&mut place.promises, 100);
        jump(to);
        for _ in 0..100 {
            let answer = host.hear_append(&mut place.promises);
            assert!(matches!(answer, Answer::Acknowledged(_)), "{to}: {answer:?}");
        }
        let answers = host.append(&mut place.promises, 20);
        assert!(answers.iter().all(|it| matches!(it, Answer::Acknowledged(_))), "{to}");
    }
    assert_eq!(host.read(), (jumps.len() * 120, None));
    assert_eq!(host.close().0, "CLOSED");
    place.check(true).unwrap();
    let times = times(&place);
    let after = |jump: usize| times[jump * 120 + 119];
    assert!(after(1) - after(0) >= 2 * YEAR_MS, "the harness moves no clock: {times:?}");
    assert!(after(0) - after(2) >= 40 * YEAR_MS && after(3) - after(2) >= 50 * YEAR_MS);
}
