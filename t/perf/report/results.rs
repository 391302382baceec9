//! The lab's results, as `t/perf/lab` notes them: a line each, fields between tabs.
//!
//!     info    <name> <value>
//!     row     <id> <section> <title> <RTT to canonical, ms> <bound: contender+round trips, or -> <limit> <x>
//!     sample  <row> <contender> <microseconds> <ok, WRONG or FAILED> <bytes over each link, canonical's first>...

/// All of them.
#[derive(Default)]
pub struct Results {
    /// What was measured with what.
    pub info: Vec<(String, String)>,
    /// In the order in which they were measured.
    pub rows: Vec<Row>,
}

/// Work, and how long each contender took for it.
pub struct Row {
    /// Names it.
    pub id: String,
    /// The table to which it belongs.
    pub section: String,
    /// What the work was.
    pub title: String,
    rtt: f64,
    bound: String,
    limit: String,
    /// Where it is on the plot.
    pub x: f64,
    /// In the order in which they were taken.
    pub samples: Vec<Sample>,
}

/// One measurement.
pub struct Sample {
    /// Who did the work.
    pub contender: String,
    /// Wall time.
    pub ms: f64,
    /// It ended well, with canonical's refs.
    pub ok: bool,
    /// Bytes from canonical, and from each mirror.
    pub carried: Vec<u64>,
}

/// What was wanted of a row, and what came.
pub struct Verdict {
    /// In words.
    pub wanted: String,
    /// Whether it came.
    pub holds: bool,
}

impl Results {
    /// Reads the notes. The error is the line that is none.
    pub fn read(text: &str) -> Result<Results, String> {
        let mut results = Results::default();
        for line in text.lines() {
            results.add(line).ok_or(line)?;
        }
        Ok(results)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            ["info", name, value] => self.info.push(((*name).into(), (*value).into())),
            ["row", id, section, title, rtt, bound, limit, x] => self.rows.push(Row {
                id: (*id).into(),
                section: (*section).into(),
                title: (*title).into(),
                rtt: rtt.parse().ok()?,
                bound: (*bound).into(),
                limit: (*limit).into(),
                x: x.parse().ok()?,
                samples: Vec::new(),
            }),
            ["sample", row, contender, time, status, carried @ ..] => {
                let row = self.rows.iter_mut().find(|known| known.id == *row)?;
                row.samples.push(Sample {
                    contender: (*contender).into(),
                    ms: time.parse::<f64>().ok()? / 1000.0,
                    ok: *status == "ok",
                    carried: carried.iter().map(|bytes| bytes.parse().ok()).collect::<Option<_>>()?,
                });
            }
            _ => return None,
        }
        Some(())
    }
}

impl Row {
    /// Returns the times of a contender.
    pub fn times(&self, contender: &str) -> Vec<f64> {
        self.samples
            .iter()
            .filter(|sample| sample.contender == contender && sample.ok)
            .map(|sample| sample.ms)
            .collect()
    }

    /// Returns their median.
    pub fn median(&self, contender: &str) -> Option<f64> {
        let mut times = self.times(contender);
        times.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        match times.len() {
            0 => None,
            n if n % 2 == 1 => Some(times[middle]),
            _ => Some((times[middle - 1] + times[middle]) / 2.0),
        }
    }

    /// Returns whether each of its measurements ended well.
    pub fn is_right(&self, contender: &str) -> bool {
        self.samples.iter().filter(|sample| sample.contender == contender).all(|sample| sample.ok)
    }

    /// Returns the time that the project is compared with, in ms.
    pub fn bound(&self) -> Option<f64> {
        let (contender, trips) = self.bound.split_once('+').unwrap_or((&self.bound, "0"));
        Some(self.median(contender)? + trips.parse::<f64>().ok()? * self.rtt)
    }

    /// Returns how the project's time is to the bound.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.median("ours")? / self.bound()?)
    }

    /// Returns how much faster the project is than plain git from canonical.
    pub fn gain(&self) -> Option<f64> {
        Some(self.median("canonical")? / self.median("ours")?)
    }

    /// Returns what was wanted, if anything was.
    pub fn verdict(&self) -> Option<Verdict> {
        let right = self.is_right("ours");
        if let Some(number) = self.limit.strip_prefix("picks ") {
            let holds = right && number.parse().ok() == self.picked();
            return Some(Verdict { wanted: format!("from mirror {number}"), holds });
        }
        let (ratio, bound, ours) = (self.ratio()?, self.bound()?, self.median("ours")?);
        let (wanted, holds) = if let Some((limit, ms)) = self.limit.split_once('+') {
            let within = ours <= bound + ms.parse::<f64>().ok()?;
            (format!("{limit} x, or +{ms} ms"), within || ratio <= limit.parse().ok()?)
        } else if let Some((limit, gain)) = self.limit.split_once('!') {
            let faster = self.gain()? >= gain.parse().ok()?;
            (format!("{limit} x; {gain} x faster"), faster && ratio <= limit.parse().ok()?)
        } else {
            (format!("{} x", self.limit), ratio <= self.limit.parse().ok()?)
        };
        Some(Verdict { wanted, holds: holds && right })
    }

    /// Returns the mirror from which most bytes came, the first being 1, if more came from it than from canonical.
    fn picked(&self) -> Option<usize> {
        let carried = &self.samples.last()?.carried;
        (0..carried.len()).max_by_key(|at| carried[*at]).filter(|at| *at > 0)
    }
}
