//! Channels made larger or smaller between layers before any is treated, so that less is lost: SmoothQuant for data
//! that are rounded, AWQ for weights. Limits: only channels that a normalization, a layer or a product makes can be
//! scaled, and only where nobody but layers reads them; what a plan's layers note says where that is not so.

mod search;
mod smooth;

use super::CompressError;
use super::channels::DataSource;
use crate::engine::Ctx;
use crate::engine::graph::passes::Passages;
use crate::engine::hash::of_bytes;
use crate::pipeline::configure::{Balance, Plan};
use crate::pipeline::load::Subject;

/// The subject with its channels balanced as `plan` asks for; as it is where it asks for nothing.
///
/// # Errors
/// When the data cannot be had or fed, a rewritten graph is not valid, or on cancel.
pub(super) fn balance(plan: &Plan, subject: Subject, data: DataSource<'_>, ctx: &Ctx) -> Result<Subject, CompressError> {
    if plan.balance == Balance::None || plan.is_unchanged() {
        return Ok(subject);
    }
    // Without data the plan says so already, unless it was made without asking whether there are any.
    let Some(data) = data(ctx)? else { return Err(CompressError::NoBalanceData { recipe: plan.recipe.clone() }) };
    let passages = Passages::of(&subject.folded, &subject.layers);
    let scales = match plan.balance {
        Balance::None => return Ok(subject),
        Balance::Smooth { strength } => smooth::scales(&passages, &subject, &data, strength, ctx)?,
        Balance::Awq => search::scales(&passages, plan, &subject, &data, ctx)?,
    };
    let key = of_bytes(format!("{scales:?}").as_bytes());
    let model = passages.rescale(&subject.folded, &scales)?;
    Ok(subject.balanced(model, &key))
}

#[cfg(test)]
mod tests;
