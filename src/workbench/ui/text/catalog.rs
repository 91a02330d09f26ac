//! All messages of a language, read once.

use super::Language;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use std::collections::HashMap;
use std::sync::OnceLock;
use unic_langid::LanguageIdentifier;

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        /// Name, in English, in Chinese.
        pub const FILES: &[(&str, &str, &str)] = &[$((
            $name,
            include_str!(concat!("../../../../assets/text/en/", $name, ".ftl")),
            include_str!(concat!("../../../../assets/text/zh-CN/", $name, ".ftl")),
        )),+];
    };
}

files![
    "window",
    "commands",
    "top",
    "configure",
    "load",
    "compare",
    "export",
    "graph",
    "app",
    "prompts",
    "edits",
    "maps",
    "preflight"
];

pub struct Catalog {
    bundle: FluentBundle<FluentResource>,
    /// Messages without variables, ready to be shown.
    plain: HashMap<String, String>,
}

/// The messages of a language.
pub fn catalog(language: Language) -> &'static Catalog {
    static CATALOGS: [OnceLock<Catalog>; Language::ALL.len()] = [const { OnceLock::new() }; Language::ALL.len()];
    CATALOGS[language as usize].get_or_init(|| Catalog::read(language))
}

impl Catalog {
    fn read(language: Language) -> Self {
        let tag: LanguageIdentifier = language.tag().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![tag]);
        // Marks for mixed directions of writing, which neither language needs and no font draws.
        bundle.set_use_isolating(false);
        let mut ids = Vec::new();
        for &(_, english, chinese) in FILES {
            let text = match language {
                Language::English => english,
                Language::Chinese => chinese,
            };
            // What cannot be read of a file is left out; the tests see to it that nothing is.
            let resource = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(read, _)| read);
            ids.extend(names(&resource));
            bundle.add_resource_overriding(resource);
        }
        let plain = ids.into_iter().filter_map(|id| Some((id.clone(), format(&bundle, &id, None)?))).collect();
        Self { bundle, plain }
    }

    pub fn plain(&self, id: &str) -> Option<&str> {
        self.plain.get(id).map(String::as_str)
    }

    pub fn filled(&self, id: &str, args: &FluentArgs<'_>) -> Option<String> {
        format(&self.bundle, id, Some(args))
    }
}

/// `None` where there is no such message, or a variable has no value.
fn format(bundle: &FluentBundle<FluentResource>, id: &str, args: Option<&FluentArgs<'_>>) -> Option<String> {
    let (name, attribute) = id.split_once('.').map_or((id, None), |(name, attribute)| (name, Some(attribute)));
    let message = bundle.get_message(name)?;
    let pattern = match attribute {
        Some(attribute) => message.get_attribute(attribute)?.value(),
        None => message.value()?,
    };
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, args, &mut errors);
    errors.is_empty().then(|| text.into_owned())
}

/// `message` and `message.attribute`, of every message of a file.
fn names(resource: &FluentResource) -> Vec<String> {
    use fluent_syntax::ast::Entry;
    let mut names = Vec::new();
    for entry in resource.entries() {
        if let Entry::Message(message) = entry {
            names.extend(message.value.is_some().then(|| message.id.name.to_owned()));
            names.extend(message.attributes.iter().map(|a| format!("{}.{}", message.id.name, a.id.name)));
        }
    }
    names
}
