//! The rows of the Time Series Benchmark Suite's use case `cpu-only`.
//!
//! A row for each host every 10 seconds from 2016-01-01 on, in time order, hosts in turn: ten tags that belong to
//! the host, ten integer fields that walk at random within 0..=100 in steps of about 1. One seed makes the same
//! rows as line protocol and as CSV, wherever they are made.

use chrono::DateTime;

pub(crate) const START_S: i64 = 1_451_606_400;
pub(crate) const INTERVAL_S: i64 = 10;
const FIELDS: usize = 10;

/// The table's columns behind the time: tags, then fields.
pub(crate) const TAGS: [&str; 10] = [
    "hostname",
    "region",
    "datacenter",
    "rack",
    "os",
    "arch",
    "team",
    "service",
    "service_version",
    "service_environment",
];
pub(crate) const FIELD_NAMES: [&str; FIELDS] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];

const REGIONS: [(&str, &str); 9] = [
    ("us-east-1", "abe"),
    ("us-west-1", "ab"),
    ("us-west-2", "abc"),
    ("eu-west-1", "abc"),
    ("eu-central-1", "ab"),
    ("ap-southeast-1", "ab"),
    ("ap-southeast-2", "ab"),
    ("ap-northeast-1", "ac"),
    ("sa-east-1", "abc"),
];
const SYSTEMS: [&str; 3] = ["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"];
const ARCHITECTURES: [&str; 2] = ["x64", "x86"];
const TEAMS: [&str; 4] = ["SF", "NYC", "LON", "CHI"];
const ENVIRONMENTS: [&str; 3] = ["production", "staging", "test"];

struct Host {
    /// `cpu,hostname=…,… `: what stands before the fields.
    line: Vec<u8>,
    /// `,host_0,…`: what stands behind the time.
    csv: Vec<u8>,
    fields: [f32; FIELDS],
}

/// Makes rows, one after the other.
pub(crate) struct Rows {
    random: Random,
    hosts: Vec<Host>,
    next_host: usize,
    time_s: i64,
    /// ` 1451606400000000000\n` and `2016-01-01 00:00:00`.
    time_line: Vec<u8>,
    time_csv: Vec<u8>,
}

impl Rows {
    pub(crate) fn new(hosts: usize, seed: u64) -> Rows {
        let mut random = Random(seed);
        let hosts = (0..hosts.max(1)).map(|index| host(index, &mut random)).collect();
        let (time_line, time_csv) = (Vec::new(), Vec::new());
        let mut rows = Rows { random, hosts, next_host: 0, time_s: START_S, time_line, time_csv };
        rows.format_time();
        rows
    }

    /// Appends `rows` lines of line protocol.
    pub(crate) fn lines(&mut self, rows: usize, out: &mut Vec<u8>) {
        for _ in 0..rows {
            let host = &mut self.hosts[self.next_host];
            out.extend_from_slice(&host.line);
            for (index, (name, field)) in FIELD_NAMES.iter().zip(&mut host.fields).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name.as_bytes());
                out.push(b'=');
                step(field, &mut self.random, out);
                out.push(b'i');
            }
            out.extend_from_slice(&self.time_line);
            self.advance();
        }
    }

    /// The host whose row comes next, counted from 0.
    pub(crate) fn next_host(&self) -> usize {
        self.next_host
    }

    /// Appends `rows` lines of CSV: the time, the tags, the fields.
    pub(crate) fn csv(&mut self, rows: usize, out: &mut Vec<u8>) {
        for _ in 0..rows {
            let host = &mut self.hosts[self.next_host];
            out.extend_from_slice(&self.time_csv);
            out.extend_from_slice(&host.csv);
            for field in &mut host.fields {
                out.push(b',');
                step(field, &mut self.random, out);
            }
            out.push(b'\n');
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.next_host += 1;
        if self.next_host == self.hosts.len() {
            self.next_host = 0;
            self.time_s += INTERVAL_S;
            self.format_time();
        }
    }

    fn format_time(&mut self) {
        self.time_line = format!(" {}000000000\n", self.time_s).into_bytes();
        let time = DateTime::from_timestamp(self.time_s, 0).unwrap_or_default();
        self.time_csv = time.format("%Y-%m-%d %H:%M:%S").to_string().into_bytes();
    }
}

fn host(index: usize, random: &mut Random) -> Host {
    let (region, zones) = REGIONS[random.below(REGIONS.len())];
    let zone = random.below(zones.len());
    let tags: [String; 10] = [
        format!("host_{index}"),
        region.to_owned(),
        format!("{region}{}", &zones[zone..=zone]),
        random.below(100).to_string(),
        SYSTEMS[random.below(SYSTEMS.len())].to_owned(),
        ARCHITECTURES[random.below(ARCHITECTURES.len())].to_owned(),
        TEAMS[random.below(TEAMS.len())].to_owned(),
        random.below(20).to_string(),
        random.below(2).to_string(),
        ENVIRONMENTS[random.below(ENVIRONMENTS.len())].to_owned(),
    ];
    let mut line = "cpu".to_owned();
    let mut csv = String::new();
    for (name, value) in TAGS.iter().zip(&tags) {
        line += &format!(",{name}={value}");
        csv += &format!(",{value}");
    }
    line.push(' ');
    let fields = std::array::from_fn(|_| random.below(101) as f32);
    Host { line: line.into_bytes(), csv: csv.into_bytes(), fields }
}

/// A step of the walk; writes where it led.
fn step(field: &mut f32, random: &mut Random, out: &mut Vec<u8>) {
    *field = (*field + random.normal()).clamp(0.0, 100.0);
    let value = *field as u8;
    if value >= 100 {
        out.push(b'1');
    }
    if value >= 10 {
        out.push(b'0' + value / 10 % 10);
    }
    out.push(b'0' + value % 10);
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers from a seed, whatever libraries do.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// About normal, mean 0, deviation 1: the sum of four uniform numbers, scaled.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|part| (bits >> (part * 16)) & 0xffff).sum();
        (sum as f32 / 65_535.0 - 2.0) * 1.732_050_8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_hold_the_same_rows() {
        let (mut lines, mut csv) = (Vec::new(), Vec::new());
        Rows::new(3, 1).lines(7, &mut lines);
        Rows::new(3, 1).csv(7, &mut csv);
        let (lines, csv) = (String::from_utf8_lossy(&lines), String::from_utf8_lossy(&csv));
        assert_eq!((lines.lines().count(), csv.lines().count()), (7, 7));
        for (line, row) in lines.lines().zip(csv.lines()) {
            let values = line.split([',', ' ']).filter_map(|part| part.split_once('='));
            let values: Vec<_> = values.map(|(_, value)| value.trim_end_matches('i')).collect();
            assert_eq!(values, row.split(',').skip(1).collect::<Vec<_>>());
        }
        assert!(lines.lines().next().is_some_and(|line| line.starts_with("cpu,hostname=host_0,region=")));
        assert!(lines.lines().last().is_some_and(|line| line.ends_with(" 1451606420000000000")));
        assert!(csv.lines().last().is_some_and(|row| row.starts_with("2016-01-01 00:00:20,host_0,")));
    }

    #[test]
    fn fields_stay_within_their_range() {
        let mut csv = Vec::new();
        Rows::new(2, 7).csv(20_000, &mut csv);
        let text = String::from_utf8_lossy(&csv);
        let values = text.lines().flat_map(|row| row.split(',').skip(1 + TAGS.len()));
        let values: Vec<u32> = values.filter_map(|value| value.parse().ok()).collect();
        assert_eq!(values.len(), 20_000 * FIELDS);
        assert!(values.iter().all(|value| *value <= 100));
    }
}
