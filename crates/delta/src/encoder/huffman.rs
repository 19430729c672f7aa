//! Turning symbols into DEFLATE blocks with zlib's trees: which block type, which code lengths,
//! which order of equal frequencies.
//!
//! Never a better tree than zlib's: the same one.

const END: usize = 256;
const L_CODES: usize = 286;
const D_CODES: usize = 30;
const BL_CODES: usize = 19;
const HEAP: usize = 2 * L_CODES + 1;
const MAX_BITS: usize = 15;
const BL_ORDER: [usize; BL_CODES] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const L_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const D_EXTRA: [u8; D_CODES] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const BL_EXTRA: [u8; BL_CODES] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7];

/// The code of a length less 3, and the first such length of that code.
fn length_code(less: usize) -> (usize, usize) {
    if less == 255 {
        return (28, 255);
    }
    if less < 8 {
        return (less, less);
    }
    let bits = (usize::BITS - 1 - less.leading_zeros()) as usize;
    let code = 4 * (bits - 1) + ((less >> (bits - 2)) & 3);
    (code, (4 + (code & 3)) << (bits - 2))
}

/// The code of a distance less 1, and the first such distance of that code.
fn distance_code(less: usize) -> (usize, usize) {
    if less < 4 {
        return (less, less);
    }
    let bits = (usize::BITS - 1 - less.leading_zeros()) as usize;
    let code = 2 * bits + ((less >> (bits - 1)) & 1);
    (code, (2 + (code & 1)) << (bits - 1))
}

fn fixed_length(symbol: usize) -> u8 {
    match symbol {
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    }
}

/// One Huffman code under construction.
struct Tree {
    freq: [u32; HEAP],
    len: [u8; HEAP],
    code: [u16; L_CODES + 2],
    /// The greatest symbol in use.
    max: usize,
}

/// What distinguishes the three codes of a block.
struct Shape {
    symbols: usize,
    max_bits: usize,
    extra_base: usize,
    extra: &'static [u8],
}

const LITERALS: Shape = Shape { symbols: L_CODES, max_bits: MAX_BITS, extra_base: 257, extra: &L_EXTRA };
const DISTANCES: Shape = Shape { symbols: D_CODES, max_bits: MAX_BITS, extra_base: 0, extra: &D_EXTRA };
const LENGTHS: Shape = Shape { symbols: BL_CODES, max_bits: 7, extra_base: 0, extra: &BL_EXTRA };

impl Tree {
    fn new() -> Self {
        Self { freq: [0; HEAP], len: [0; HEAP], code: [0; L_CODES + 2], max: 0 }
    }

    fn clear(&mut self) {
        self.freq.fill(0);
    }
}

/// The heap of a tree's construction: the least frequent first, then the shallowest.
struct Heap {
    slots: [usize; HEAP + 1],
    len: usize,
    depth: [u8; HEAP],
}

impl Heap {
    fn smaller(&self, freq: &[u32; HEAP], a: usize, b: usize) -> bool {
        (freq[a], self.depth[a]) <= (freq[b], self.depth[b])
    }

    fn sink(&mut self, freq: &[u32; HEAP], mut at: usize) {
        let node = self.slots[at];
        let mut child = 2 * at;
        while child <= self.len {
            if child < self.len && self.smaller(freq, self.slots[child + 1], self.slots[child]) {
                child += 1;
            }
            if self.smaller(freq, node, self.slots[child]) {
                break;
            }
            self.slots[at] = self.slots[child];
            at = child;
            child *= 2;
        }
        self.slots[at] = node;
    }

    fn pop(&mut self, freq: &[u32; HEAP]) -> usize {
        let node = self.slots[1];
        self.slots[1] = self.slots[self.len];
        self.len -= 1;
        self.sink(freq, 1);
        node
    }
}

/// The blocks of a stream: symbols in, bytes out.
pub(super) struct Blocks {
    /// Length and distance of a match, or a literal with distance 0.
    symbols: Vec<(u16, u16)>,
    capacity: usize,
    literals: Tree,
    distances: Tree,
    lengths: Tree,
    /// Bits of the open block with its own trees, and with the fixed ones.
    own_bits: u64,
    fixed_bits: u64,
    out: Vec<u8>,
    bits: u64,
    bit_count: u32,
}

impl Blocks {
    /// `symbols` is how many symbols zlib's buffer has; a block ends one before it is full.
    pub(super) fn new(symbols: usize) -> Self {
        let mut blocks = Self {
            symbols: Vec::with_capacity(symbols),
            capacity: symbols - 1,
            literals: Tree::new(),
            distances: Tree::new(),
            lengths: Tree::new(),
            own_bits: 0,
            fixed_bits: 0,
            out: Vec::new(),
            bits: 0,
            bit_count: 0,
        };
        blocks.open();
        blocks
    }

    fn open(&mut self) {
        self.symbols.clear();
        self.literals.clear();
        self.distances.clear();
        self.lengths.clear();
        self.literals.freq[END] = 1;
        self.own_bits = 0;
        self.fixed_bits = 0;
    }

    /// Adds a literal; says whether the block is full.
    pub(super) fn literal(&mut self, byte: u8) -> bool {
        self.symbols.push((u16::from(byte), 0));
        self.literals.freq[usize::from(byte)] += 1;
        self.symbols.len() >= self.capacity
    }

    /// Adds a match of 3 to 258 bytes at a distance of 1 to 32768; says whether the block is full.
    pub(super) fn pair(&mut self, len: usize, distance: usize) -> bool {
        self.symbols.push((len as u16, distance as u16));
        self.literals.freq[257 + length_code(len - 3).0] += 1;
        self.distances.freq[distance_code(distance - 1).0] += 1;
        self.symbols.len() >= self.capacity
    }

    /// Ends the block. `raw` is its plain text if that is still in the window; `len` its length.
    pub(super) fn close(&mut self, raw: Option<&[u8]>, len: usize, last: bool) {
        let mut literals = std::mem::replace(&mut self.literals, Tree::new());
        let mut distances = std::mem::replace(&mut self.distances, Tree::new());
        self.build(&mut literals, &LITERALS);
        self.build(&mut distances, &DISTANCES);
        let order = self.build_lengths(&literals, &distances);
        let fixed = (self.fixed_bits + 3 + 7) >> 3;
        let best = fixed.min((self.own_bits + 3 + 7) >> 3);
        match raw {
            Some(raw) if len as u64 + 4 <= best => self.stored(raw, last),
            _ if fixed == best => {
                self.put(2 + u64::from(last), 3);
                self.fixed_codes(&mut literals, &mut distances);
                self.body(&literals, &distances);
            }
            _ => {
                self.put(4 + u64::from(last), 3);
                self.trees(&literals, &distances, order);
                self.body(&literals, &distances);
            }
        }
        if last {
            self.align();
        }
        (self.literals, self.distances) = (literals, distances);
        self.open();
    }

    fn stored(&mut self, raw: &[u8], last: bool) {
        self.put(u64::from(last), 3);
        self.align();
        let len = raw.len() as u16;
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(&(!len).to_le_bytes());
        self.out.extend_from_slice(raw);
    }

    fn put(&mut self, value: u64, count: u32) {
        self.bits |= value << self.bit_count;
        self.bit_count += count;
        while self.bit_count >= 8 {
            self.out.push(self.bits as u8);
            self.bits >>= 8;
            self.bit_count -= 8;
        }
    }

    fn align(&mut self) {
        if self.bit_count > 0 {
            self.out.push(self.bits as u8);
            self.bits = 0;
            self.bit_count = 0;
        }
    }

    /// The whole bytes so far.
    pub(super) fn drain_whole(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Everything, the last bits filled up to a byte.
    pub(super) fn drain(&mut self) -> Vec<u8> {
        self.align();
        self.drain_whole()
    }

    fn fixed_codes(&self, literals: &mut Tree, distances: &mut Tree) {
        for symbol in 0..L_CODES + 2 {
            literals.len[symbol] = fixed_length(symbol);
        }
        literals.max = L_CODES + 1;
        codes(literals);
        for symbol in 0..D_CODES {
            distances.len[symbol] = 5;
        }
        distances.max = D_CODES - 1;
        codes(distances);
    }

    fn body(&mut self, literals: &Tree, distances: &Tree) {
        let symbols = std::mem::take(&mut self.symbols);
        for &(len, distance) in &symbols {
            if distance == 0 {
                self.symbol(literals, usize::from(len));
                continue;
            }
            let less = usize::from(len) - 3;
            let (code, first) = length_code(less);
            self.symbol(literals, 257 + code);
            self.put((less - first) as u64, u32::from(L_EXTRA[code]));
            let less = usize::from(distance) - 1;
            let (code, first) = distance_code(less);
            self.symbol(distances, code);
            self.put((less - first) as u64, u32::from(D_EXTRA[code]));
        }
        self.symbol(literals, END);
        self.symbols = symbols;
    }

    fn symbol(&mut self, tree: &Tree, symbol: usize) {
        self.put(u64::from(tree.code[symbol]), u32::from(tree.len[symbol]));
    }

    fn build(&mut self, tree: &mut Tree, shape: &Shape) {
        let mut heap = Heap { slots: [0; HEAP + 1], len: 0, depth: [0; HEAP] };
        tree.max = 0;
        for symbol in 0..shape.symbols {
            tree.len[symbol] = 0;
            if tree.freq[symbol] != 0 {
                heap.len += 1;
                heap.slots[heap.len] = symbol;
                tree.max = symbol;
            }
        }
        let mut forced = 0;
        let mut none = heap.len == 0;
        while heap.len < 2 {
            // A code has at least two symbols, and zlib takes the first ones that are free.
            let symbol = if none || tree.max < 2 { if none { 0 } else { tree.max + 1 } } else { 0 };
            none = false;
            tree.max = tree.max.max(symbol);
            tree.freq[symbol] = 1;
            heap.len += 1;
            heap.slots[heap.len] = symbol;
            forced += 1;
            if shape.extra_base == 0 && shape.symbols == D_CODES {
                self.fixed_bits = self.fixed_bits.wrapping_sub(5);
            } else if shape.symbols == L_CODES {
                self.fixed_bits = self.fixed_bits.wrapping_sub(u64::from(fixed_length(symbol)));
            }
        }
        self.own_bits = self.own_bits.wrapping_sub(forced);
        let (order, dad) = join(tree, shape, &mut heap);
        self.limit(tree, shape, &order, &dad);
        codes(tree);
    }

    /// Gives every symbol its length, none above the limit, and counts the bits of the block.
    fn limit(&mut self, tree: &mut Tree, shape: &Shape, order: &[usize], dad: &[usize; HEAP]) {
        let mut count = [0_usize; MAX_BITS + 1];
        let mut overflow = 0_i64;
        let extra = |symbol: usize| -> u64 {
            symbol.checked_sub(shape.extra_base).and_then(|i| shape.extra.get(i)).map_or(0, |&e| u64::from(e))
        };
        for (index, &node) in order.iter().enumerate() {
            if index == 0 {
                tree.len[node] = 0;
                continue;
            }
            let mut bits = usize::from(tree.len[dad[node]]) + 1;
            if bits > shape.max_bits {
                bits = shape.max_bits;
                overflow += 1;
            }
            tree.len[node] = bits as u8;
            if node > tree.max {
                continue;
            }
            count[bits] += 1;
            let freq = u64::from(tree.freq[node]);
            self.own_bits = self.own_bits.wrapping_add(freq * (bits as u64 + extra(node)));
            let fixed = match shape.symbols {
                L_CODES => u64::from(fixed_length(node)) + extra(node),
                D_CODES => 5 + extra(node),
                _ => 0,
            };
            self.fixed_bits = self.fixed_bits.wrapping_add(freq * fixed);
        }
        if overflow == 0 {
            return;
        }
        while overflow > 0 {
            let mut bits = shape.max_bits - 1;
            while count[bits] == 0 {
                bits -= 1;
            }
            count[bits] -= 1;
            count[bits + 1] += 2;
            count[shape.max_bits] -= 1;
            overflow -= 2;
        }
        let mut leaves = order.iter().rev().copied().filter(|&node| node <= tree.max);
        for bits in (1..=shape.max_bits).rev() {
            for _ in 0..count[bits] {
                let Some(node) = leaves.next() else { return };
                let change = bits as i64 - i64::from(tree.len[node]);
                self.own_bits = self.own_bits.wrapping_add_signed(change * i64::from(tree.freq[node]));
                tree.len[node] = bits as u8;
            }
        }
    }

    /// The code of the code lengths; answers how many of them are sent.
    fn build_lengths(&mut self, literals: &Tree, distances: &Tree) -> usize {
        let mut tree = std::mem::replace(&mut self.lengths, Tree::new());
        for part in [literals, distances] {
            runs(part, |symbol, _, _| tree.freq[symbol] += 1);
        }
        self.build(&mut tree, &LENGTHS);
        let mut sent = BL_CODES;
        while sent > 4 && tree.len[BL_ORDER[sent - 1]] == 0 {
            sent -= 1;
        }
        self.own_bits = self.own_bits.wrapping_add(3 * sent as u64 + 5 + 5 + 4);
        self.lengths = tree;
        sent
    }

    fn trees(&mut self, literals: &Tree, distances: &Tree, sent: usize) {
        self.put((literals.max + 1 - 257) as u64, 5);
        self.put(distances.max as u64, 5);
        self.put((sent - 4) as u64, 4);
        let tree = std::mem::replace(&mut self.lengths, Tree::new());
        for &symbol in BL_ORDER.iter().take(sent) {
            self.put(u64::from(tree.len[symbol]), 3);
        }
        for part in [literals, distances] {
            runs(part, |symbol, extra, bits| {
                self.symbol(&tree, symbol);
                self.put(extra, bits);
            });
        }
        self.lengths = tree;
    }
}

/// Joins the nodes two by two. Answers the nodes from the root down, and each node's parent.
fn join(tree: &mut Tree, shape: &Shape, heap: &mut Heap) -> (Vec<usize>, [usize; HEAP]) {
    for at in (1..=heap.len / 2).rev() {
        heap.sink(&tree.freq, at);
    }
    let mut dad = [0; HEAP];
    let mut order = Vec::with_capacity(HEAP);
    let mut node = shape.symbols;
    loop {
        let first = heap.pop(&tree.freq);
        let second = heap.slots[1];
        order.push(first);
        order.push(second);
        tree.freq[node] = tree.freq[first] + tree.freq[second];
        heap.depth[node] = heap.depth[first].max(heap.depth[second]) + 1;
        dad[first] = node;
        dad[second] = node;
        heap.slots[1] = node;
        node += 1;
        heap.sink(&tree.freq, 1);
        if heap.len < 2 {
            break;
        }
    }
    order.push(heap.slots[1]);
    order.reverse();
    (order, dad)
}

/// Canonical codes, their bits in the order of the stream.
fn codes(tree: &mut Tree) {
    let mut count = [0_u16; MAX_BITS + 1];
    for &len in tree.len.iter().take(tree.max + 1) {
        count[usize::from(len)] += 1;
    }
    let mut next = [0_u16; MAX_BITS + 1];
    let mut code = 0_u16;
    count[0] = 0;
    for bits in 1..=MAX_BITS {
        code = code.wrapping_add(count[bits - 1]) << 1;
        next[bits] = code;
    }
    for symbol in 0..=tree.max {
        let len = tree.len[symbol];
        if len != 0 {
            let slot = &mut next[usize::from(len)];
            tree.code[symbol] = slot.reverse_bits() >> (16 - u32::from(len));
            *slot = slot.wrapping_add(1);
        }
    }
}

/// The code lengths of a tree as symbols of the code of lengths: symbol, extra value, extra bits.
fn runs(tree: &Tree, mut emit: impl FnMut(usize, u64, u32)) {
    let mut before = None;
    let mut next = usize::from(tree.len[0]);
    let (mut max, mut min) = if next == 0 { (138, 3) } else { (7, 4) };
    let mut count = 0_u64;
    for symbol in 0..=tree.max {
        let now = next;
        // Past the last symbol stands a length that no symbol has.
        next = if symbol == tree.max { usize::MAX } else { usize::from(tree.len[symbol + 1]) };
        count += 1;
        if count < max && now == next {
            continue;
        }
        if count < min {
            (0..count).for_each(|_| emit(now, 0, 0));
        } else if now != 0 {
            if before != Some(now) {
                emit(now, 0, 0);
                count -= 1;
            }
            emit(16, count - 3, 2);
        } else if count <= 10 {
            emit(17, count - 3, 3);
        } else {
            emit(18, count - 11, 7);
        }
        count = 0;
        before = Some(now);
        (max, min) = match () {
            () if next == 0 => (138, 3),
            () if now == next => (6, 3),
            () => (7, 4),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_distance_codes_are_those_of_the_standard() {
        for (less, code, first) in
            [(0, 0, 0), (7, 7, 7), (8, 8, 8), (9, 8, 8), (10, 9, 10), (254, 27, 224), (255, 28, 255)]
        {
            assert_eq!(length_code(less), (code, first), "{less}");
        }
        for (less, code, first) in
            [(0, 0, 0), (3, 3, 3), (4, 4, 4), (5, 4, 4), (6, 5, 6), (8, 6, 8), (32767, 29, 24576)]
        {
            assert_eq!(distance_code(less), (code, first), "{less}");
        }
    }
}
