//! Brings samples to the rate at which they are listened to.

use std::f64::consts::PI;

/// Zero crossings of the filter on each side.
const CROSSINGS: f64 = 8.0;
/// Positions between two samples at which the filter is known.
const PHASES: usize = 64;

/// The samples at another rate, without what that rate cannot hold.
pub(super) fn resample(samples: &[f32], from: f64, to: f64) -> Vec<f32> {
    if (from - to).abs() < 1e-9 {
        return samples.to_vec();
    }
    let step = from / to;
    // The lower of both rates holds less; a little below its limit the filter has to end.
    let cut = (1.0 / step).min(1.0) * 0.95;
    let reach = (CROSSINGS / cut).ceil() as isize;
    let taps = 2 * reach as usize;
    let filters: Vec<f32> = (0..PHASES)
        .flat_map(|phase| {
            let offset = phase as f64 / PHASES as f64;
            (0..taps).map(move |tap| {
                let x = (tap as isize - reach + 1) as f64 - offset;
                let window = (PI * x / (2.0 * reach as f64)).cos().powi(2);
                let angle = PI * x * cut;
                (cut * window * if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle }) as f32
            })
        })
        .collect();
    let count = (samples.len() as f64 / step) as usize;
    (0..count)
        .map(|n| {
            let at = n as f64 * step;
            let phase = ((at.fract() * PHASES as f64) as usize).min(PHASES - 1);
            let filter = &filters[phase * taps..(phase + 1) * taps];
            let from = at as isize - reach + 1;
            let (skip, from) = if from < 0 { ((-from) as usize, 0) } else { (0, from as usize) };
            let rest = samples.get(from..).unwrap_or_default();
            filter[skip.min(taps)..].iter().zip(rest).map(|(weight, sample)| weight * sample).sum()
        })
        .collect()
}
