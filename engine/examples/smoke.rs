//! Smoke.
use ringlog::*;
use std::time::*;
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let t = Instant::now();
    let e = Engine::options().open(&dir).unwrap();
    println!("open {:?} stat {:?}", t.elapsed(), e.stat().opened_in);
    let t = Instant::now();
    let s = e.open_or_create_topic(TopicSpec::new("s")).unwrap().partition(0).unwrap();
    let a = e
        .open_or_create_topic(TopicSpec::new("a").flush(Flush::Async))
        .unwrap()
        .partition(0)
        .unwrap();
    println!("topics {:?}", t.elapsed());
    let t = Instant::now();
    let n = 2000;
    let v = vec![7u8; 1024];
    for i in 0..n {
        let o = s.append(Record::new(&v)).unwrap();
        if i == 0 {
            println!("first {o}");
        }
    }
    println!("sync QD1 {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let n = 2_000_000;
    let v = vec![7u8; 100];
    for _ in 0..n {
        a.append(Record::new(&v)).unwrap();
    }
    println!("async 100B {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let mut count = 0u64;
    for b in a.reader(Start::Earliest).unwrap() {
        count += b.unwrap().len() as u64;
    }
    println!("read {count} {:.0}/s", count as f64 / t.elapsed().as_secs_f64());
    let mut count = 0u64;
    for b in s.reader(Start::Earliest).unwrap() {
        count += b.unwrap().len() as u64;
    }
    println!("read {count}");
    let t = Instant::now();
    println!("{:?}", e.close(Duration::from_secs(10)));
    println!("close {:?}", t.elapsed());
    println!("{:#?}", e.metrics());
}
