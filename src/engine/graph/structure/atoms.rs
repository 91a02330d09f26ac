//! Sets of channels that stand and fall together, as a forest of unions.

/// One channel of one axis of one tensor, or a set of those that are the same channel.
pub(super) type Atom = u32;

/// Unions of atoms; some are held fast, for a reason.
#[derive(Debug, Default)]
pub(super) struct Atoms {
    parents: Vec<Atom>,
    /// Number of the reason, by root.
    held: Vec<Option<usize>>,
    reasons: Vec<String>,
}

impl Atoms {
    /// `count` new atoms, each by itself.
    pub fn fresh(&mut self, count: usize) -> Vec<Atom> {
        let first = self.parents.len() as Atom;
        let new: Vec<Atom> = (first..first + count as Atom).collect();
        self.parents.extend(&new);
        self.held.extend(std::iter::repeat_n(None, count));
        new
    }

    pub fn root(&mut self, mut atom: Atom) -> Atom {
        while self.parents[atom as usize] != atom {
            let above = self.parents[self.parents[atom as usize] as usize];
            self.parents[atom as usize] = above;
            atom = above;
        }
        atom
    }

    /// What is the same channel from now on. The earlier atom stands for both, as does the earlier reason.
    pub fn join(&mut self, a: Atom, b: Atom) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (low, high) = (a.min(b), a.max(b));
        self.parents[high as usize] = low;
        let reasons = [self.held[low as usize], self.held[high as usize]];
        self.held[low as usize] = reasons.into_iter().flatten().min();
    }

    /// Keeps channels from being cut. The first reason stays.
    pub fn hold(&mut self, atoms: &[Atom], reason: &str) {
        let mut number = None;
        for atom in atoms {
            let root = self.root(*atom) as usize;
            if self.held[root].is_none() {
                let number = *number.get_or_insert_with(|| {
                    self.reasons.push(reason.to_owned());
                    self.reasons.len() - 1
                });
                self.held[root] = Some(number);
            }
        }
    }

    /// Why the channel stays, if it must.
    pub fn reason(&mut self, atom: Atom) -> Option<&str> {
        let root = self.root(atom) as usize;
        self.held[root].map(|number| self.reasons[number].as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Atoms;

    #[test]
    fn what_is_joined_is_held_together_for_the_first_reason() {
        let mut atoms = Atoms::default();
        let all = atoms.fresh(4);
        atoms.join(all[2], all[1]);
        atoms.join(all[3], all[2]);
        assert_eq!([0, 1, 1, 1], [0, 1, 2, 3].map(|i: usize| atoms.root(all[i])));
        atoms.hold(&all[3..], "an output");
        atoms.hold(&all[..2], "another");
        assert_eq!(atoms.reason(all[1]), Some("an output"));
        atoms.join(all[0], all[1]);
        assert_eq!(atoms.reason(all[0]), Some("an output"));
    }
}
