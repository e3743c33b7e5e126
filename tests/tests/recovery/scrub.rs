//! The scrub: what has rotted is told before a reader meets it, at the pace that was asked for, and
//! nothing else comes of it. All in simulated time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringlog::sim::{FaultError, FaultOp};
use ringlog::{Engine, Flush, Offset, Options, Record, Start};
use ringlog_tests::world::{World, append, log, topic, value, values};

const LEN: usize = 2000;
const N: u64 = 300;
const HOUR: Duration = Duration::from_secs(3600);
/// What is read at once, and the largest group beyond.
const PIECE: u64 = (256 + 32) << 10;

type Told = Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>;

/// Many segments of `safe` in log-001, closed cleanly; opened again it scrubs this fast.
fn made(seed: u64, bytes_per_second: u64) -> (World, Told) {
    made_as(seed, bytes_per_second, |options| options, (N, LEN))
}

/// So many records of this length, under other options.
fn made_as(
    seed: u64,
    bytes_per_second: u64,
    options: impl FnOnce(Options) -> Options,
    (n, len): (u64, usize),
) -> (World, Told) {
    let mut world = World::new(seed, |_| ());
    world.options = options(world.options);
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 0, n, len);
    append(&topic(&engine, "fast", Flush::Async), 0, 10, LEN);
    (0..50).for_each(|_| engine.turn());
    engine.close(HOUR).unwrap();
    let told = Told::default();
    let ear = Arc::clone(&told);
    world.options = world.options.scrub(bytes_per_second, HOUR).on_event(Arc::new(move |event| {
        if event.name == "damaged" {
            let fields = event.fields.iter().map(|(name, value)| (*name, value.to_string()));
            ear.lock().unwrap().push(fields.collect());
        }
    }));
    (world, told)
}

/// Turns until so many passes through log-001 have been completed.
fn pass(engine: &Engine, passes: u64) {
    for _ in 0..10_000 {
        if log(engine, "log-001").scrub.passes >= passes {
            return;
        }
        engine.turn();
    }
    panic!("no pass {passes}: {:?}", log(engine, "log-001").scrub);
}

fn segment_of(world: &World, n: u64) -> (String, u64) {
    let segments = world.named("log-001/", ".log");
    let bytes = |name: &String| world.disk.read_file(name).unwrap();
    let has = |name: &String| bytes(name).windows(12).any(|w| w == &value(n, LEN)[..12]);
    let segment = segments.into_iter().find(has).unwrap();
    let at = world.find(&segment, &value(n, LEN));
    (segment, at)
}

fn base(segment: &str) -> u64 {
    let name = segment.rsplit_once('/').unwrap().1;
    u64::from_str_radix(name.strip_suffix(".log").unwrap(), 16).unwrap()
}

#[test]
fn a_rotten_byte_is_told_with_its_place_before_a_reader_meets_it() {
    let hurt = 150;
    // In the payload, the group's header, the frame's, the padding; and in the segment's header.
    for (byte, from_group) in [(700, false), (9, true), (70, true), (4095, true), (40, true)] {
        let (world, told) = made(1, 1 << 20);
        let (segment, at) = segment_of(&world, hurt);
        let is_header = byte == 40;
        let group = if is_header { 0 } else { at & !4095 };
        let place = if from_group { group + byte } else { at + byte };
        world.disk.corrupt(&segment, place, 0x10).unwrap();
        let before = world.disk.read_file(&segment).unwrap();
        let engine = world.open();
        assert!(told.lock().unwrap().is_empty(), "opening does not read it");
        pass(&engine, 1);
        let events = told.lock().unwrap().clone();
        assert_eq!(events.len(), 1, "byte {byte}: {events:?}");
        let event = &events[0];
        let found: u64 = event["at"].parse().unwrap();
        assert!(event["path"].ends_with(&segment) && event["log"] == "log-001", "{event:?}");
        assert!(found & !4095 == group && found <= place, "byte {byte} at {place}: {event:?}");
        assert_eq!(event["position"], (base(&segment) + found).to_string());
        let scrub = log(&engine, "log-001").scrub;
        assert!(scrub.damaged_places == 1 && scrub.damage.unwrap().contains(&segment));
        let text = engine.metrics().to_prometheus();
        assert!(text.contains("ringlog_scrub_damaged_places{log=\"log-001\",flush=\"sync\"} 1"));
        // Nothing else has come of it.
        let safe = topic(&engine, "safe", Flush::Sync);
        assert_eq!(safe.append(Record::new(b"more")).unwrap(), Offset(N));
        let lost = if is_header { N } else { hurt };
        for n in (0..N).filter(|n| *n != lost) {
            let mut records = safe.reader(Start::Offset(Offset(n))).unwrap().records();
            assert!(records.next().unwrap().unwrap().value.unwrap() == value(n, LEN)[..], "{n}");
        }
        values(&topic(&engine, "fast", Flush::Async)).unwrap();
        assert!(world.disk.read_file(&segment).unwrap() == before);
        // The next pass finds the same, and says nothing; one that finds it mended forgets it.
        pass(&engine, 2);
        assert_eq!(
            (told.lock().unwrap().len(), log(&engine, "log-001").scrub.damaged_places),
            (1, 1)
        );
        world.disk.corrupt(&segment, place, 0x10).unwrap();
        pass(&engine, 3);
        assert_eq!(
            (told.lock().unwrap().len(), log(&engine, "log-001").scrub.damaged_places),
            (1, 0)
        );
    }
}

#[test]
fn what_is_lost_or_cut_is_told_too_and_the_rest_is_read() {
    let (world, told) = made(2, 1 << 20);
    let engine = world.open();
    pass(&engine, 1);
    assert!(told.lock().unwrap().is_empty());
    let whole = log(&engine, "log-001").scrub.bytes;
    let (first, _) = segment_of(&world, 20);
    let (second, at) = segment_of(&world, 100);
    let (third, _) = segment_of(&world, 200);
    world.remove(&first);
    world.disk.truncate(&second, at).unwrap();
    world.overwrite(&third, 4096, &vec![0; 40_960]);
    pass(&engine, 2);
    let events = told.lock().unwrap().clone();
    let paths: Vec<_> = events.iter().map(|event| event["path"].as_str()).collect();
    assert_eq!(paths.len(), 3, "{events:?}");
    for (path, segment) in paths.iter().zip([&first, &second, &third]) {
        assert!(path.ends_with(segment.as_str()), "{events:?}");
    }
    assert!(log(&engine, "log-001").scrub.bytes < 2 * whole);
}

#[test]
fn it_reads_no_faster_than_asked_for_and_then_rests() {
    for rate in [100_000, 1_000_000] {
        let (world, _) = made(3, rate);
        let engine = world.open();
        let (begun, mut pieces, mut last) = (world.clock.now(), 0, 0);
        let read = || {
            let logs = engine.metrics().logs;
            logs.iter().map(|log| log.scrub.bytes).sum::<u64>()
        };
        while log(&engine, "log-002").scrub.passes == 0 {
            engine.turn();
            let elapsed = world.clock.now().checked_sub(begun).unwrap().as_secs_f64();
            let bytes = read();
            assert!(bytes as f64 <= rate as f64 * elapsed + PIECE as f64, "{bytes} in {elapsed} s");
            assert!(bytes - last <= PIECE, "{}", bytes - last);
            pieces += u32::from(bytes > last);
            last = bytes;
        }
        let elapsed = world.clock.now().checked_sub(begun).unwrap().as_secs_f64();
        assert!(pieces >= 4 && last > N * 4096, "{pieces} pieces, {last} bytes");
        assert!(elapsed >= (last - PIECE) as f64 / rate as f64, "{last} bytes in {elapsed} s");
        assert!(elapsed <= 1.5 * last as f64 / rate as f64 + 3.0, "{last} bytes in {elapsed} s");
        // Until the next pass, which begins an hour after this one did.
        let sealed = last;
        while world.clock.now() + Duration::from_secs(1) < begun + HOUR {
            assert_eq!(read(), sealed);
            engine.turn();
        }
        pass(&engine, 2);
        assert!(world.clock.now() < begun + HOUR + Duration::from_secs(60));
    }
}

#[test]
fn with_nothing_to_read_nothing_wakes() {
    for scrubs in [false, true] {
        let mut world = World::new(4, |_| ());
        if scrubs {
            world.options = world.options.scrub(1 << 20, HOUR);
        }
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        append(&safe, 0, 3, LEN);
        // The watermark group after a quiet second.
        (0..5000).for_each(|_| engine.turn());
        let before = world.clock.now();
        (0..100).for_each(|_| engine.turn());
        // No timer is armed, or the simulation would have moved on to it.
        let moved = world.clock.now().checked_sub(before).unwrap();
        assert!(moved < Duration::from_secs(1), "{moved:?}");
        append(&safe, 3, 60, LEN);
        (0..100).for_each(|_| engine.turn());
        assert_eq!(log(&engine, "log-001").scrub.passes > 0, scrubs);
    }
}

#[test]
fn segments_retired_and_recycled_meanwhile_are_no_damage() {
    let (mut world, told) = made(5, 300_000);
    world.options = world.options.spare_segments(4);
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    for round in 0..20 {
        let end = N + round * 30;
        append(&safe, end, end + 30, LEN);
        safe.trim(Offset(end - 100)).unwrap();
        (0..7).for_each(|_| engine.turn());
    }
    pass(&engine, 2);
    assert!(log(&engine, "log-001").segments_recycled > 5);
    assert!(told.lock().unwrap().is_empty(), "{told:?}");
}

#[test]
fn a_segment_recycled_between_two_pieces_is_read_no_further() {
    // Larger than what is read ahead, which would hide what the file has become.
    let large = |options: Options| options.segment_bytes(4 << 20).spare_segments(8);
    let (n, len) = (600, 23 << 10);
    // The first segments are smaller, and not recycled.
    for pieces in [14, 18] {
        let (world, told) = made_as(7, 300_000, large, (n, len));
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        while log(&engine, "log-001").scrub.bytes < pieces * (256 << 10) {
            engine.turn();
        }
        assert_eq!(log(&engine, "log-001").scrub.passes, 0);
        // All of it goes, and its files come back with other groups in them.
        safe.trim(Offset(n)).unwrap();
        append(&safe, n, 3 * n, len);
        let recycled = log(&engine, "log-001").segments_recycled;
        assert!(recycled > 0, "{recycled}");
        pass(&engine, 1);
        assert!(told.lock().unwrap().is_empty(), "{pieces}: {told:?}");
    }
}

#[test]
fn a_read_that_fails_twice_is_damage_until_a_pass_reads_it() {
    let (world, told) = made(6, 1 << 20);
    let engine = world.open();
    for (fails, damaged) in [(1, 0), (2, 1)] {
        let passes = log(&engine, "log-001").scrub.passes;
        (1..=fails).for_each(|nth| world.disk.fail_nth(FaultOp::Read, nth, FaultError::Io));
        pass(&engine, passes + 1);
        assert_eq!(log(&engine, "log-001").scrub.damaged_places, damaged);
        assert_eq!(told.lock().unwrap().len() as u64, damaged);
        assert_eq!(log(&engine, "log-001").stopped, None);
    }
    let passes = log(&engine, "log-001").scrub.passes;
    pass(&engine, passes + 1);
    assert_eq!(log(&engine, "log-001").scrub.damaged_places, 0);
}
