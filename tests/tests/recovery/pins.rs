//! One test for each bug that the random scenarios, or reading, once found.

use std::time::Duration;

use ringlog::inspect::Inspector;
use ringlog::sim::{Condition, Crash, FaultError, FaultOp, Moment};
use ringlog::{Ack, AppendOptions, Engine, Error, Flush, Offset, Record, Start, TopicSpec};
use ringlog_tests::evidence::verify;
use ringlog_tests::world::{World, append, expected, log, topic, value, values};

const LEN: usize = 1000;

#[test]
fn a_segment_left_during_recovery_keeps_the_epoch_of_what_follows() {
    // A checkpoint with the new epoch made the next recovery take the old epoch's groups, which
    // follow the segment, for stale.
    for seed in 0..20 {
        let mut world = World::new(seed, |_| ());
        let mut n = 0;
        for _ in 0..4 {
            let engine = world.open();
            let fast = topic(&engine, "fast", Flush::Async);
            assert_eq!(values(&fast).unwrap(), expected(n, LEN));
            engine.turn();
            append(&fast, n, n + 75, LEN);
            n += 75;
            world.crash(Crash::Process);
        }
        let engine = world.open();
        assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), expected(n, LEN));
    }
}

#[test]
fn a_ring_is_replayed_into_the_next_segment() {
    let mut rolled = 0;
    for n in 20..64 {
        let mut world = World::new(n, |_| ());
        let engine = world.open();
        let fast = topic(&engine, "fast", Flush::Async);
        // Nothing reaches a segment: all there is is in the ring.
        world.disk.freeze();
        let mut written = 0;
        while written < n && fast.try_append(Record::new(&value(written, LEN))).is_ok() {
            written += 1;
            // Upkeep goes on, and makes the next segment.
            engine.turn();
        }
        rolled += u64::from(log(&engine, "log-001").written_end > 64 << 10);
        world.crash(Crash::Process);
        let engine = world.open();
        assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), expected(written, LEN));
        assert_eq!(log(&engine, "log-001").recovery.lost_bytes, 0);
    }
    assert!(rolled > 0);
}

#[test]
fn a_trim_that_its_segments_end_overtakes_is_kept() {
    for n in 50..75 {
        let mut world = World::new(n, |_| ());
        let engine = world.open();
        let fast = topic(&engine, "fast", Flush::Async);
        append(&fast, 0, n, LEN);
        fast.trim(Offset(20)).unwrap();
        append(&fast, n, n + 70, LEN);
        world.crash(Crash::Process);
        let engine = world.open();
        let found = topic(&engine, "fast", Flush::Async).info().unwrap();
        assert_eq!(found.log_start, Offset(20));
    }
}

#[test]
fn topics_never_share_records_after_a_creation_that_timed_out() {
    let mut world = World::new(1, |_| ());
    let engine = world.open();
    append(&topic(&engine, "first", Flush::Sync), 0, 3, LEN);
    world.disk.freeze();
    let late = engine.create_topic(TopicSpec::new("late").partitions(2)).unwrap_err();
    assert!(late.outcome_is_unknown(), "{late}");
    let refused = engine.create_topic(TopicSpec::new("later")).unwrap_err();
    assert!(!refused.outcome_is_unknown(), "{refused}");
    world.disk.thaw();
    append(&topic(&engine, "later", Flush::Sync), 0, 3, LEN);
    let again = engine.create_topic(TopicSpec::new("late")).unwrap_err();
    assert!(matches!(again, Error::TopicExists { .. }), "it became durable: {again}");
    world.crash(Crash::Power);
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "late", Flush::Sync)).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(values(&topic(&engine, "later", Flush::Sync)).unwrap(), expected(3, LEN));
}

#[test]
fn an_index_left_by_a_close_amid_its_segment_is_not_taken_for_whole() {
    let mut world = World::new(2, |_| ());
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 0, 10, LEN);
    engine.close(Duration::from_secs(1)).unwrap();
    drop(engine);
    let index = world.disk.read_file("log-001/0000000000000000.idx").unwrap();
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 10, 200, LEN);
    world.crash(Crash::Process);
    // As if writing the whole one had failed.
    world.remove("log-001/0000000000000000.idx");
    world.put("log-001/0000000000000000.idx", &index);
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    let mut reader = safe.reader(Start::Offset(Offset(12))).unwrap().records();
    assert_eq!(reader.next().unwrap().unwrap().value.unwrap(), value(12, LEN));
    // Nor does the segment look dead.
    safe.trim(Offset(10)).unwrap();
    (0..20).for_each(|_| engine.turn());
    assert_eq!(values(&safe).unwrap(), expected(200, LEN)[10..]);
}

#[test]
fn a_full_disk_does_not_hide_records_from_readers_after_a_reopen() {
    let world = World::new(3, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 20, LEN);
    engine.close(Duration::from_secs(1)).unwrap();
    drop((engine, safe));
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 20, 30, LEN);
    world.disk.set_condition(Condition::Full);
    let mut n = 30;
    while safe.append(Record::new(&value(n, LEN))).is_ok() {
        n += 1;
    }
    world.disk.set_condition(Condition::Normal);
    engine.close(Duration::from_secs(1)).unwrap();
    drop((engine, safe));
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), expected(n, LEN));
}

#[test]
fn an_end_that_fills_its_segment_does_not_start_on_the_next_ones_header() {
    // 4096 bytes a group: every fill level of a segment, the last ones included.
    for n in 0..36 {
        let mut world = World::new(n, |_| ());
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        append(&safe, 0, n, 3000);
        for _ in 0..3 {
            world.crash(Crash::Process);
            let engine = world.open();
            let safe = topic(&engine, "safe", Flush::Sync);
            assert_eq!(values(&safe).unwrap(), expected(n, 3000));
        }
        world.crash(Crash::Process);
        let engine = world.open();
        append(&topic(&engine, "safe", Flush::Sync), n, n + 30, 3000);
        world.crash(Crash::Power);
        let engine = world.open();
        let found = values(&topic(&engine, "safe", Flush::Sync)).unwrap();
        assert_eq!(found, expected(n + 30, 3000));
    }
}

#[test]
fn written_on_a_sync_topic_is_replayed_and_then_durable() {
    let mut world = World::new(4, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    let written = AppendOptions::default().ack(Ack::Written);
    for n in 0..8 {
        safe.append_with(&[Record::new(&value(n, LEN))], written).unwrap();
    }
    world.crash(Crash::Process);
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), expected(8, LEN));
    world.crash(Crash::Power);
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), expected(8, LEN));
}

#[test]
fn a_directory_whose_creation_was_cut_short_twice_is_made_anew() {
    for seed in 0..60 {
        let mut world = World::new(seed, |_| ());
        for after in [seed % 30, (seed * 7) % 40] {
            world.disk.kill_after(after);
            let _ = world.try_open();
            world.crash(Crash::Power);
        }
        let engine = world.open();
        append(&topic(&engine, "safe", Flush::Sync), 0, 3, LEN);
    }
}

#[test]
fn a_segment_prepared_with_other_options_is_used_as_it_is() {
    for seed in 0..20 {
        let mut world = World::new(seed, |_| ());
        let mut n = 0;
        for segment_bytes in [256 << 10, 64 << 10, 128 << 10, 64 << 10] {
            world.options = world.options.clone().segment_bytes(segment_bytes);
            let engine = world.open();
            let fast = topic(&engine, "fast", Flush::Async);
            n = values(&fast).unwrap().len() as u64;
            append(&fast, n, n + 200, LEN);
            world.crash(Crash::Power);
        }
        let engine = world.open();
        let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
        assert_eq!(found, expected(found.len() as u64, LEN));
        assert!(found.len() as u64 >= n);
    }
}

#[test]
fn a_reader_does_not_walk_into_what_recovery_cut() {
    // Groups in flight at a power loss stay whole beyond the cut; then the segment is left early,
    // with nothing in it of the new epoch but empty groups.
    let mut stale = 0;
    for seed in 0..300 {
        let mut world = World::new(seed, |_| ());
        world.options = world.options.clone().group_bytes(4096).groups_in_flight(8);
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        append(&safe, 0, 7 + seed % 4, 3000);
        let n = 7 + seed % 4;
        let flying: Vec<_> =
            (n..n + 8).map(|n| safe.append_async(Record::new(&value(n, 3000)))).collect();
        engine.turn();
        world.crash(Crash::Power);
        drop((flying, safe, engine));
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        let mut all = values(&safe).unwrap();
        assert_eq!(all, expected(all.len() as u64, 3000));
        stale += u64::from(log(&engine, "log-001").recovery.cut_bytes > 0);
        for n in 0..3 {
            all.push(value(n, 23_000));
            safe.append(Record::new(&value(n, 23_000))).unwrap();
        }
        assert_eq!(values(&safe).unwrap(), all, "seed {seed}");
        drop((engine, safe));
        assert_eq!(values(&topic(&world.open(), "safe", Flush::Sync)).unwrap(), all);
    }
    assert!(stale > 20, "{stale}");
}

#[test]
fn a_deleted_topic_in_the_index_of_a_close_does_not_spoil_the_next_one() {
    let world = World::new(5, |_| ());
    let engine = world.open();
    append(&topic(&engine, "gone", Flush::Sync), 0, 5, LEN);
    append(&topic(&engine, "safe", Flush::Sync), 0, 100, LEN);
    append(&topic(&engine, "gone", Flush::Sync), 5, 8, LEN);
    engine.delete_topic("gone").unwrap();
    (0..20).for_each(|_| engine.turn());
    engine.close(Duration::from_secs(1)).unwrap();
    drop(engine);
    for round in 0..3 {
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        append(&safe, 100 + round, 101 + round, LEN);
        engine.close(Duration::from_secs(1)).unwrap();
    }
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), expected(103, LEN));
}

#[test]
fn zeros_where_a_batch_was_are_damage_and_not_the_end() {
    let world = World::new(6, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 10, LEN);
    engine.close(Duration::from_secs(1)).unwrap();
    drop((engine, safe));
    let segment = "log-001/0000000000000000.log";
    let at = world.find(segment, &value(9, LEN)) & !4095;
    world.overwrite(segment, at + 64, &[0; 4096 - 64]);
    let engine = world.open();
    let mut records =
        topic(&engine, "safe", Flush::Sync).reader(Start::Earliest).unwrap().records();
    for n in 0..9 {
        assert_eq!(records.next().unwrap().unwrap().value.unwrap(), value(n, LEN));
    }
    let end = records.next();
    assert!(matches!(end, Some(Err(Error::Corrupt { .. }))), "{end:?}");
}

#[test]
fn what_is_called_durable_is_even_where_a_segment_was_just_left() {
    for n in 30..64 {
        let mut world = World::new(n, |_| ());
        let engine = world.open();
        let fast = topic(&engine, "fast", Flush::Async);
        world.disk.freeze();
        for i in 0..n {
            let _ = fast.try_append(Record::new(&value(i, LEN)));
            engine.turn();
        }
        let durable = fast.info().unwrap().durable_end.0;
        world.crash(Crash::Power);
        let engine = world.open();
        let end = topic(&engine, "fast", Flush::Async).info().unwrap().end.0;
        assert!(end >= durable, "{end}, but {durable} was durable");
    }
}

#[test]
fn what_a_power_loss_leaves_is_no_damage_to_verify() {
    // An index was renamed into its place without a flush, came back torn, and was called damage.
    let mut indexes = 0;
    for seed in 0..60 {
        let mut world = World::new(seed, |_| ());
        let engine = world.open();
        let sync = topic(&engine, "sync", Flush::Sync);
        for n in 0..40 {
            append(&sync, 5 * n, 5 * (n + 1), LEN);
            engine.turn();
        }
        world.crash(Crash::Power);
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in world.files() {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        indexes += world.named("log-001/", ".idx").len();
        let report = Inspector::open(dir.path()).unwrap().verify(&mut |_, _| ()).unwrap();
        let damage: Vec<_> = report.damage().collect();
        assert!(damage.is_empty(), "seed {seed}: {damage:?}");
    }
    assert!(indexes > 0);
}

#[test]
fn a_segment_whose_header_is_not_read_is_no_stranger() {
    // One read error while opening, and the newest segment was passed over: the next one took its
    // name, and what was durable in it was gone.
    let mut world = World::new(1, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    // The next segment is there, and the checkpoint that would list it is not: the disk is full.
    append(&safe, 0, 100, LEN);
    engine.turn();
    world.disk.set_condition(Condition::Full);
    let mut n = 100;
    while safe.try_append(Record::new(&value(n, LEN))).is_ok() {
        n += 1;
    }
    world.disk.mend();
    world.crash(Crash::Power);
    let mut refused = 0;
    for nth in 1..250 {
        let mut world = world.fork(nth);
        world.disk.fail_nth(FaultOp::Any, nth, FaultError::Io);
        refused += u64::from(world.try_open().is_err());
        world.disk.mend();
        world.crash(Crash::Power);
        let engine = world.open();
        let found = values(&topic(&engine, "safe", Flush::Sync)).unwrap();
        assert!(found == expected(n, LEN), "operation {nth} failed: {} of {n}", found.len());
    }
    assert!(refused > 20, "{refused}");
}

/// A life in which segments are left, trimmed and retired.
fn retiring(engine: &Engine) {
    let safe = topic(engine, "safe", Flush::Sync);
    for n in 0..30 {
        let _ = (n * 10..n * 10 + 10)
            .try_for_each(|n| safe.append(Record::new(&value(n, LEN))).map(drop));
        let _ = safe.trim(Offset((n * 10).saturating_sub(25)));
        engine.turn();
    }
}

#[test]
fn no_kept_checkpoint_lists_a_file_that_recovery_removed() {
    // Killed between the two checkpoints that come before a dead segment goes, recovery removed it,
    // and the older of the two still listed it.
    for (nth, crash) in (1..20).flat_map(|nth| [(nth, Crash::Process), (nth, Crash::Power)]) {
        let mut world = World::new(nth, |_| ());
        let engine = world.open();
        topic(&engine, "safe", Flush::Sync);
        world.disk.kill_at(Moment::FileStored, nth);
        retiring(&engine);
        world.crash(crash);
        // Open still: a close stores another one.
        let engine = world.open();
        verify(&world.disk).unwrap_or_else(|damage| panic!("{nth}, {crash:?}: {damage}"));
        drop(engine);
    }
}

#[test]
fn a_checkpoint_that_cannot_be_stored_leaves_no_gap() {
    // The next one had the number after its, and what was kept besides was not just before it: a
    // full disk at the next open then found no older one to go back to.
    let (mut checkpoints, mut failed) = (0, 0);
    for op in [FaultOp::Name, FaultOp::Flush] {
        let world = World::new(1, |_| ());
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        for n in 0..400 {
            if n % 3 == 0 {
                world.disk.fail_nth(op, 1 + n / 3 % 4, FaultError::NoSpace);
            }
            let _ = safe.append(Record::new(&value(n, LEN)));
            engine.turn();
            world.disk.mend();
            failed += u64::from(log(&engine, "log-001").upkeep_error.is_some());
            let kept = world.named("log-001/checkpoint-", "");
            let kept = kept.iter().filter_map(|name| name.strip_prefix("log-001/checkpoint-"));
            let kept: Vec<u64> = kept.filter_map(|hex| u64::from_str_radix(hex, 16).ok()).collect();
            assert!(kept.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{op:?} {n}: {kept:?}");
            checkpoints = kept.last().copied().unwrap_or(0).max(checkpoints);
        }
    }
    assert!(checkpoints > 4 && failed > 0, "{checkpoints} {failed}");
}

#[test]
fn a_close_that_waits_for_a_write_that_hangs_sleeps() {
    // The flusher asked for the next segment, which upkeep does not make while closing, in a circle
    // that only the deadline ended.
    for n in 5..60 {
        let world = World::new(n, |_| ());
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        append(&safe, 0, n, LEN);
        world.disk.stick_nth(FaultOp::Write, 1);
        let append = safe.append_async(Record::new(&value(n, LEN)));
        let before = world.disk.op_count();
        let closed = engine.close(Duration::from_millis(50));
        assert!(matches!(closed, Err(Error::Timeout { .. })), "{closed:?}");
        let operations = world.disk.op_count() - before;
        assert!(operations < 5_000, "{operations} operations while nothing could be done");
        drop(append);
    }
}

#[test]
fn what_stands_behind_a_group_of_which_a_ring_has_a_part_is_not_taken_for_what_follows() {
    // The ring has lost a frame of a group that no segment has. The group behind it stands in the
    // segment, or in the ring. Killed between the write-back and the bump, the next recovery went
    // on from the part that was written back into the old group, and found offsets missing.
    const LEN: usize = 500;
    const GROUP: u64 = 4096;
    for (moment, crash, in_segment) in [
        (Moment::WrittenBack, Crash::Process, true),
        (Moment::BeforeBump, Crash::Process, true),
        (Moment::BeforeBump, Crash::Power, true),
        (Moment::WrittenBack, Crash::Process, false),
        (Moment::BeforeBump, Crash::Process, false),
        (Moment::BeforeBump, Crash::Power, false),
    ] {
        let what = format!("{moment:?}, {crash:?}, in a segment: {in_segment}");
        let mut world = World::new(3, |_| ());
        world.options = world.options.clone().group_bytes(4096).batch_bytes(0);
        let engine = world.open();
        let fast = topic(&engine, "fast", Flush::Async);
        world.disk.freeze();
        append(&fast, 0, 30, LEN);
        world.crash(Crash::Process);
        let (ring, segment) = ("log-001/ring", "log-001/0000000000000000.log");
        // The tail begins behind the control page, and neither it nor the segment has wrapped.
        let of = |n: u64| world.find(ring, format!("value {n} ").as_bytes());
        let group_of = |n: u64| of(n) / GROUP * GROUP;
        let first = (10..30).find(|n| group_of(*n) != group_of(n - 1)).unwrap();
        let lost = first + 2;
        assert_eq!(group_of(lost), group_of(first));
        let next = group_of(first) + GROUP;
        world.disk.corrupt(ring, of(lost), 1).unwrap();
        if in_segment {
            let bytes = world.disk.read_file(ring).unwrap();
            let behind = &bytes[next as usize..(next + GROUP) as usize];
            world.overwrite(segment, next - GROUP, behind);
            world.overwrite(ring, next, &vec![0; bytes.len() - next as usize]);
        }
        // The first is that of the topics.
        world.disk.kill_at(moment, 2);
        assert!(world.try_open().is_err(), "{what}: is met");
        world.crash(crash);
        let engine = world.open();
        assert_eq!(log(&engine, "log-001").stopped, None, "{what}");
        let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
        assert_eq!(found, expected(found.len() as u64, LEN), "{what}");
        assert!(crash == Crash::Power || found.len() as u64 == lost, "{what}");
    }
}
