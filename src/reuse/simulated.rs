//! What a simulation of the same layouts gave, without a storage engine: rows were sorted into pages of 16 KiB, each
//! compressed by zstd. A re-implementation that takes much more than this would do its model wrong.

use super::{kind::LayoutKind, workload::Workload};

/// Bytes a change in the simulation, at full size; `None` where it was not run.
pub fn bytes_per_change(workload: Workload, layout: LayoutKind) -> Option<f64> {
    // A, B, C, D, E, F, Dlong; 0 is not run.
    let row = match layout {
        LayoutKind::Roomserver => [8.4, 4.1, 8.7, 7.8, 6.8, 8.7, 10.1],
        LayoutKind::FullCopy => [90_356.0, 80.0, 90_651.0, 797_000.0, 11_100.0, 0.0, 0.0],
        LayoutKind::Synapse => [12_213.0, 112.0, 12_316.0, 97_000.0, 1_329.0, 0.0, 0.0],
        LayoutKind::CompressState => [180.0, 113.0, 214.0, 2_116.0, 158.0, 0.0, 0.0],
        LayoutKind::Conduit => [167.0, 70.0, 180.0, 225.0, 112.0, 0.0, 329.0],
        LayoutKind::Dendrite => [1_459.0, 165.0, 2_174.0, 14_500.0, 233.0, 0.0, 0.0],
        LayoutKind::Prolly => [249.0, 46.0, 249.0, 373.0, 182.0, 0.0, 0.0],
    };
    let place = Workload::ALL.iter().position(|other| *other == workload)?;
    row.get(place).copied().filter(|bytes| *bytes > 0.0)
}

/// What a change may take, and what would be very good: the aims that the layout was made for.
pub fn target(workload: Workload) -> Option<(f64, f64)> {
    match workload {
        Workload::A => Some((12.0, 8.4)),
        Workload::B => Some((6.0, 4.1)),
        Workload::C => Some((12.0, 8.7)),
        Workload::E => Some((10.0, 6.8)),
        Workload::Dlong => Some((15.0, 10.1)),
        Workload::D | Workload::F => None,
    }
}
