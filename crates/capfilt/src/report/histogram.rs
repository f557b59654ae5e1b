//! Score histograms, drawn as inline SVG.

use std::collections::BTreeMap;

use capfilt_data::{Kind, Source};
use maud::{Markup, html};

const BINS: u32 = 25;

/// How often each score occurs.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bins: [u64; BINS as usize],
    /// Scores counted.
    pub(crate) count: u64,
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            bins: [0; BINS as usize],
            count: 0,
            sum: 0.0,
        }
    }
}

/// The lowest and the highest value that a score of `kind` can have.
const fn range(kind: Kind) -> (f64, f64) {
    match kind {
        Kind::Match => (0.0, 1.0),
        Kind::Similarity => (-1.0, 1.0),
    }
}

impl Histogram {
    /// Counts one score; what is not a number is left out.
    pub(crate) fn add(&mut self, kind: Kind, score: f32) {
        if !score.is_finite() {
            return;
        }
        let (low, high) = range(kind);
        let score = f64::from(score).clamp(low, high);
        let place = (score - low) / (high - low) * f64::from(BINS);
        #[expect(clippy::cast_possible_truncation, reason = "0 to BINS by the clamp")]
        #[expect(clippy::cast_sign_loss, reason = "0 to BINS by the clamp")]
        let bin = (place as usize).min(self.bins.len() - 1);
        self.bins[bin] += 1;
        self.count += 1;
        self.sum += score;
    }

    /// The mean, where there is any score.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of captions; the mean is rounded"
    )]
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Each bin's lower edge in bins, its count, and its share of all.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of captions; a share is rounded"
    )]
    fn bars(&self) -> impl Iterator<Item = (f64, u64, f64)> {
        let all = self.count.max(1) as f64;
        (0..BINS)
            .zip(&self.bins)
            .map(move |(bin, number)| (f64::from(bin), *number, *number as f64 / all))
    }
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 92.0;
const LEFT: f64 = 4.0;
const TOP: f64 = 16.0;

/// One panel per source over a shared axis, the height of a bar being its share of that source's
/// captions, so that sources of different size can be compared.
pub(crate) fn draw(
    kind: Kind,
    histograms: &BTreeMap<Source, Histogram>,
    threshold: Option<f32>,
) -> Markup {
    let (low, high) = range(kind);
    let x = |value: f64| LEFT + (value - low) / (high - low) * (WIDTH - 2.0 * LEFT);
    let tallest = histograms
        .values()
        .flat_map(|histogram| histogram.bars().map(|(.., share)| share))
        .fold(f64::MIN_POSITIVE, f64::max);
    let bottom = histograms.values().fold(TOP, |bottom, _| bottom + HEIGHT);
    let step = (high - low) / f64::from(BINS);
    let label = label(kind, histograms);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", bottom + 20.0)) role="img" aria-label=(label) {
            @for (panel, (source, histogram)) in (1_u32..).zip(histograms) {
                @let floor = TOP + f64::from(panel) * HEIGHT;
                @for (bin, number, share) in histogram.bars() {
                    @let from = low + bin * step;
                    // What is there must be seen, however rare.
                    @let height = if share > 0.0 { (share / tallest * (HEIGHT - 26.0)).max(1.5) } else { 0.0 };
                    rect class=(source.as_str())
                        x=(round(x(from) + 1.0)) width=(round(x(from + step) - x(from) - 2.0))
                        y=(round(floor - height)) height=(round(height)) rx="1.5" {
                        title {
                            (source.as_str()) ", " (format!("{from:.2} to {:.2}", from + step)) ": "
                            (number) " (" (format!("{:.1} %", share * 100.0)) ")"
                        }
                    }
                }
                line class="axis" x1=(LEFT) x2=(WIDTH - LEFT) y1=(floor) y2=(floor) {}
                text class="panel" x=(LEFT) y=(floor - HEIGHT + 20.0) { (source.as_str()) }
            }
            @if let Some(threshold) = threshold.map(f64::from).filter(|value| (low..=high).contains(value)) {
                @let at = round(x(threshold));
                line class="threshold" x1=(at) x2=(at) y1="12" y2=(bottom) {}
                text class="tick" x=(at) y="9" text-anchor="middle" { "threshold " (threshold) }
            }
            @for tick in 0..=4 {
                @let value = low + f64::from(tick) / 4.0 * (high - low);
                @let anchor = match tick { 0 => "start", 4 => "end", _ => "middle" };
                text class="tick" x=(round(x(value))) y=(bottom + 14.0) text-anchor=(anchor) { (value) }
            }
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The drawing in words.
fn label(kind: Kind, histograms: &BTreeMap<Source, Histogram>) -> String {
    let parts: Vec<_> = histograms
        .iter()
        .map(|(source, histogram)| {
            let mean = histogram.mean().unwrap_or(0.0);
            format!(
                "{} {} captions with a mean of {mean:.2}",
                histogram.count,
                source.as_str()
            )
        })
        .collect();
    format!(
        "Histogram of {} scores: {}",
        kind.as_str(),
        parts.join(", ")
    )
}
