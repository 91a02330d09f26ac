//! What the window calls the choices that the pipeline offers.

use super::text::tr;
use crate::pipeline::configure::{Allocation, ChannelScore, CorrectionLevel, Family, Saliency, presets};
use crate::workbench::importance::Question;

/// A family of schemes.
#[must_use]
pub fn family(family: Family) -> &'static str {
    match family {
        Family::Float => tr!("family-float"),
        Family::Channel => tr!("family-channel"),
        Family::Tensor => tr!("family-tensor"),
        Family::Group => tr!("family-group"),
        Family::Asymmetric => tr!("family-asymmetric"),
        Family::AsymmetricGroup => tr!("family-asymmetric-group"),
        Family::Micro => tr!("family-micro"),
        Family::Levels => tr!("family-levels"),
        Family::Codebook => tr!("family-codebook"),
        Family::ChannelCodebook => tr!("family-channel-codebook"),
        Family::Vector => tr!("family-vector"),
        Family::Signs => tr!("family-signs"),
        Family::Blocks => tr!("family-blocks"),
    }
}

/// The same in a word or two, for a chart.
#[must_use]
pub fn short_family(family: Family) -> &'static str {
    match family {
        Family::Float => tr!("family-float.short"),
        Family::Channel => tr!("family-channel.short"),
        Family::Tensor => tr!("family-tensor.short"),
        Family::Group => tr!("family-group.short"),
        Family::Asymmetric => tr!("family-asymmetric.short"),
        Family::AsymmetricGroup => tr!("family-asymmetric-group.short"),
        Family::Micro => tr!("family-micro.short"),
        Family::Levels => tr!("family-levels.short"),
        Family::Codebook => tr!("family-codebook.short"),
        Family::ChannelCodebook => tr!("family-channel-codebook.short"),
        Family::Vector => tr!("family-vector.short"),
        Family::Signs => tr!("family-signs.short"),
        Family::Blocks => tr!("family-blocks.short"),
    }
}

/// A level of correction, within a sentence.
#[must_use]
pub fn level(level: CorrectionLevel) -> &'static str {
    match level {
        CorrectionLevel::None => tr!("level-none"),
        CorrectionLevel::Fast => tr!("level-fast"),
        CorrectionLevel::Balanced => tr!("level-balanced"),
        CorrectionLevel::Best => tr!("level-best"),
    }
}

/// The same by itself.
#[must_use]
pub fn level_title(level: CorrectionLevel) -> &'static str {
    match level {
        CorrectionLevel::None => tr!("level-none.title"),
        CorrectionLevel::Fast => tr!("level-fast.title"),
        CorrectionLevel::Balanced => tr!("level-balanced.title"),
        CorrectionLevel::Best => tr!("level-best.title"),
    }
}

/// How pruning is shared out.
#[must_use]
pub fn allocation(allocation: Allocation) -> &'static str {
    match allocation {
        Allocation::Uniform => tr!("allocation-uniform"),
        Allocation::Global => tr!("allocation-global"),
        Allocation::Lamp => tr!("allocation-lamp"),
        Allocation::Erk => tr!("allocation-erk"),
    }
}

/// By what weights or channels are important.
#[must_use]
pub fn question(question: Question) -> &'static str {
    match question {
        Question::Weights(Saliency::Magnitude) => tr!("saliency-magnitude"),
        Question::Weights(Saliency::Inputs) => tr!("saliency-inputs"),
        Question::Weights(Saliency::Surgeon) => tr!("saliency-surgeon"),
        Question::Weights(Saliency::Taylor) => tr!("saliency-taylor"),
        Question::Channels(ChannelScore::L1) => tr!("channel-score-l1"),
        Question::Channels(ChannelScore::L2) => tr!("channel-score-l2"),
        Question::Channels(ChannelScore::BatchNorm) => tr!("channel-score-batch-norm"),
        Question::Channels(ChannelScore::Median) => tr!("channel-score-median"),
        Question::Channels(ChannelScore::Activation) => tr!("channel-score-activation"),
        Question::Channels(ChannelScore::Zeros) => tr!("channel-score-zeros"),
        Question::Channels(ChannelScore::Taylor) => tr!("channel-score-taylor"),
        Question::Channels(ChannelScore::Fisher) => tr!("channel-score-fisher"),
        Question::Channels(ChannelScore::Stability) => tr!("channel-score-stability"),
    }
}

/// A group of presets; one without a message by its own name.
#[must_use]
pub fn presets(group: &presets::Group) -> &'static str {
    match group.name {
        "Common" => tr!("presets-common"),
        "Data as integers" => tr!("presets-data"),
        "Integer weights" => tr!("presets-integers"),
        "Corrected on calibration data" => tr!("presets-corrected"),
        "Floats and micro-scaled blocks" => tr!("presets-floats"),
        "Pruning" => tr!("presets-pruning"),
        "Codebooks" => tr!("presets-codebooks"),
        "Signs, need training" => tr!("presets-signs"),
        "GGUF blocks" => tr!("presets-gguf"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::presets;
    use crate::pipeline::configure::presets::GROUPS;
    use crate::workbench::ui::text::{Language, speak};

    #[test]
    fn every_group_of_presets_has_its_message() {
        speak(Language::Chinese);
        for group in GROUPS {
            assert_ne!(presets(group), group.name);
        }
        speak(Language::English);
    }
}
