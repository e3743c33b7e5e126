//! What a partition was promised to hold. Owns the list of what was offered to a writer and what it
//! answered; holds what a reader finds against it. Must never take the writer's word for more than
//! its answers, nor let an answer pass that the records do not bear out.

/// What a writer said of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing, or that it does not know: there or not.
    Open,
    /// It has this offset.
    Acknowledged(u64),
    /// It is not written and never will be.
    NotWritten,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Promises {
    /// What a reader has seen, by offset: it never goes.
    seen: Vec<Vec<u8>>,
    /// What was offered since, in order.
    offered: Vec<Offered>,
    /// How many of these have been answered: answers come in order.
    answered: usize,
    made: u64,
    /// How many writers there have been.
    life: u64,
}

#[derive(Debug)]
struct Offered {
    value: Vec<u8>,
    answer: Answer,
    /// To which of the writers.
    life: u64,
}

impl Promises {
    /// A value like no other, to be given to the writer next. Lines of text, so that every way in
    /// can take it.
    pub fn offer(&mut self) -> Vec<u8> {
        let n = self.made;
        self.made += 1;
        let len = if n % 97 == 96 { 70_000 } else { (n * 7919 % 1400) as usize };
        let mut value = format!("{n}:").into_bytes();
        value.extend((0..len as u64).map(|at| b'a' + ((at * 31 + at / 26 + n) % 26) as u8));
        let (answer, life) = (Answer::Open, self.life);
        self.offered.push(Offered { value: value.clone(), answer, life });
        value
    }

    /// So many of them.
    pub fn offer_many(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.offer()).collect()
    }

    fn answer(&mut self, answer: Answer) {
        assert!(self.answered < self.offered.len(), "an answer to nothing: {answer:?}");
        self.offered[self.answered].answer = answer;
        self.answered += 1;
    }

    /// The writer says that the next record has this offset.
    pub fn acknowledged(&mut self, offset: u64) {
        self.answer(Answer::Acknowledged(offset));
    }

    /// The writer says that the next record failed, and whether it may be there all the same.
    pub fn failed(&mut self, outcome_unknown: bool) {
        self.answer(if outcome_unknown { Answer::Open } else { Answer::NotWritten });
    }

    /// How many of those offered since the last look were acknowledged.
    pub fn acknowledgements(&self) -> usize {
        let acknowledged = |offered: &&Offered| matches!(offered.answer, Answer::Acknowledged(_));
        self.offered.iter().filter(acknowledged).count()
    }

    /// Whether these are the records: all that was seen, then what was offered since, in order,
    /// with all that was acknowledged at its offset; of what else a writer got as much as there is
    /// without a gap. From then on they have been seen. Who has died may have left more than a
    /// reader may see, which the next writer finds: only one that `has_recovered` settles that.
    pub fn check(&mut self, found: &[Vec<u8>], has_recovered: bool) -> Result<(), String> {
        let mut at = self.check_seen(found)?;
        // How many of those offered are dealt with.
        let mut settled = 0;
        let mut missing: Option<&Offered> = None;
        for (n, offered) in self.offered.iter().enumerate() {
            let there = found.get(at) == Some(&offered.value);
            let value = name(&offered.value);
            match offered.answer {
                Answer::Acknowledged(offset) if !there => {
                    return Err(format!("{value} was acknowledged at {offset} and is gone"));
                }
                Answer::Acknowledged(offset) if offset != at as u64 => {
                    return Err(format!("{value} is at {at}, not at {offset}"));
                }
                Answer::NotWritten if there => {
                    return Err(format!("{value} was refused and is there"));
                }
                _ => {}
            }
            if there {
                if let Some(missing) = missing.filter(|missing| missing.life == offered.life) {
                    let missing = name(&missing.value);
                    return Err(format!("{value} is there, and {missing} before it not"));
                }
                at += 1;
                settled = n + 1;
            } else if offered.answer == Answer::Open {
                missing = Some(offered);
            }
        }
        if let Some(stranger) = found.get(at) {
            return Err(format!("{} at {at} was not appended there", name(stranger)));
        }
        self.seen = found.to_vec();
        self.offered.drain(..if has_recovered { self.offered.len() } else { settled });
        self.answered = self.offered.len();
        self.life += 1;
        Ok(())
    }

    /// The same, where `found` begins at this offset because all below was given up.
    pub fn check_from(&mut self, start: usize, found: &[Vec<u8>]) -> Result<(), String> {
        let kept = self.offered.iter().filter(|it| matches!(it.answer, Answer::Acknowledged(_)));
        let all = self.seen.iter().chain(kept.map(|offered| &offered.value));
        let mut all: Vec<Vec<u8>> = all.take(start).cloned().collect();
        all.extend_from_slice(found);
        self.check(&all, true)
    }

    fn check_seen(&self, found: &[Vec<u8>]) -> Result<usize, String> {
        for (at, value) in self.seen.iter().enumerate() {
            match found.get(at) {
                Some(there) if there == value => {}
                there => {
                    let there = there.map_or("nothing".to_owned(), |there| name(there));
                    return Err(format!("{} was seen at {at}, where is {there} now", name(value)));
                }
            }
        }
        Ok(self.seen.len())
    }
}

/// A value by its beginning and length.
fn name(value: &[u8]) -> String {
    let head = &value[..value.len().min(24)];
    format!("\"{}\" ({} bytes)", String::from_utf8_lossy(head), value.len())
}

/// Five offered: two acknowledged, one refused, two without an answer.
fn example() -> (Promises, Vec<Vec<u8>>) {
    let mut promises = Promises::default();
    let values = promises.offer_many(5);
    promises.acknowledged(0);
    promises.acknowledged(1);
    promises.failed(false);
    promises.failed(true);
    (promises, values)
}

#[test]
fn what_keeps_its_promises_passes() {
    for kept in [&[0, 1][..], &[0, 1, 3], &[0, 1, 3, 4]] {
        let (mut promises, values) = example();
        let found: Vec<_> = kept.iter().map(|&at| values[at].clone()).collect();
        promises.check(&found, true).unwrap();
        promises.check(&found, true).unwrap();
        let next = promises.offer();
        promises.acknowledged(found.len() as u64);
        promises.check(&[found, vec![next]].concat(), true).unwrap();
    }
}

#[test]
fn every_kind_of_lie_is_noticed() {
    let lies: [(&str, &[usize]); 7] = [
        ("lost", &[0]),
        ("lost from the middle", &[1, 3]),
        ("reordered", &[1, 0]),
        ("doubled", &[0, 0, 1]),
        ("refused and there", &[0, 1, 2]),
        ("a gap among what is open", &[0, 1, 4]),
        ("appended twice", &[0, 1, 3, 3]),
    ];
    for (lie, kept) in lies {
        let (mut promises, values) = example();
        let found: Vec<_> = kept.iter().map(|&at| values[at].clone()).collect();
        assert!(promises.check(&found, false).is_err(), "{lie}");
    }
    let (mut promises, mut values) = example();
    values.truncate(2);
    let last = values[1].len() - 1;
    values[1][last] ^= 1;
    assert!(promises.check(&values, false).is_err(), "one bit differs");
    let (mut promises, values) = example();
    let invented = [&values[..2], &[b"5:invented".to_vec()]].concat();
    assert!(promises.check(&invented, false).is_err(), "invented");
    let (mut promises, values) = example();
    promises.check(&[values[0].clone(), values[1].clone(), values[3].clone()], false).unwrap();
    assert!(promises.check(&values[..2], false).is_err(), "seen and gone");
    let mut promises = Promises::default();
    let value = promises.offer();
    promises.acknowledged(1);
    assert!(promises.check(&[value], false).is_err(), "at another offset than was said");
}

#[test]
fn what_a_dead_writer_left_may_come_to_light_until_a_recovery_has_settled_it() {
    let story = || {
        let (mut promises, mut values) = example();
        promises.check(&values[..2], false).unwrap();
        values.remove(2);
        values.push(promises.offer());
        (promises, values)
    };
    for there in 2..5 {
        let (mut promises, mut values) = story();
        values.drain(there..4);
        promises.acknowledged(there as u64);
        promises.check(&values, false).unwrap();
    }
    let (mut promises, mut values) = story();
    values.remove(2);
    assert!(promises.check(&values, false).is_err(), "a gap in what the dead writer left");
    let (mut promises, values) = story();
    promises.check(&values[..2], true).unwrap();
    assert!(promises.check(&values[..3], false).is_err(), "cut by a recovery and back");
}
