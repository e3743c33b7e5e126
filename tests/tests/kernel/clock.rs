//! Clocks that are a year off, and jump: offsets and order do not follow them.

use super::program::{Place, Program, Until};
use super::{scratch, skip, tool};

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
    let out = String::from_utf8(place.run(&["read", "t", "--json"]).unwrap()).unwrap();
    let times: Vec<i64> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| record["timestamp_ms"].as_i64().unwrap())
        .collect();
    let year_ms = 365 * 24 * 3600 * 1000;
    assert_eq!(times.len(), 1200);
    assert!(times[200] - times[0] >= year_ms && times[0] - times[400] >= year_ms, "{times:?}");
}
