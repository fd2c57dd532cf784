package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The file format of bbolt, version 2, as far as proving a file needs it. All
// numbers are in the machine's own byte order.
const (
	pageHeader  = 16 // id u64, flags u16, count u16, overflow u32
	elementSize = 16 // in branch and leaf pages
	bucketSize  = 16 // root u64, sequence u64
	metaSize    = 64 // up to and with the checksum

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	fileMagic   = 0xED0CDAED
	fileVersion = 2
	noFreelist  = 1<<64 - 1
	maxDepth    = 64 // of a tree; real ones have 5 levels at most
)

// order is the machine's byte order.
var order = binary.NativeEndian

// pages reads a database file page by page and keeps account of every page, so
// that none is used twice or lies outside of the file. A page that nobody uses
// is wasted, and no reason to refuse the file: that no record is missing is
// proven by the records themselves.
type pages struct {
	r        io.ReaderAt
	pageSize int
	root     uint64
	used     []bool // by number, below the high-water mark
}

// page is one page with what overflows from it.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte
}

// header is what a meta page says.
type header struct {
	pageSize                 int
	root, freelist, end, txn uint64
}

// openPages reads the header and the list of free pages.
func openPages(r io.ReaderAt, size int64) (*pages, error) {
	a, err := readHeader(r, 0)
	if err != nil {
		return nil, fmt.Errorf("first header: %w", err)
	}
	b, err := readHeader(r, int64(a.pageSize))
	if err != nil {
		return nil, fmt.Errorf("second header: %w", err)
	}
	if a.pageSize != b.pageSize {
		return nil, errors.New("the headers disagree")
	}
	h := a
	if b.txn > a.txn {
		h = b
	}
	if h.end < 2 || h.end > uint64(size)/uint64(h.pageSize) {
		return nil, fmt.Errorf("the file ends early: it has %d bytes, its header counts %d pages of %d", size, h.end, h.pageSize)
	}
	p := &pages{r: r, pageSize: h.pageSize, root: h.root, used: make([]bool, h.end)}
	p.used[0], p.used[1] = true, true
	return p, p.readFreelist(h.freelist)
}

// readHeader reads the meta page at off. bbolt makes do with one good header
// of two; but the other one may be the newer one, and without it the last
// commit, which somebody was told is safe, would silently be undone. A crash
// can't tear a header: it is smaller than a sector.
func readHeader(r io.ReaderAt, off int64) (header, error) {
	b := make([]byte, metaSize)
	if _, err := r.ReadAt(b, off+pageHeader); err != nil {
		return header{}, err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56]) // a hash never fails
	h := header{
		pageSize: int(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		end:      order.Uint64(b[40:]),
		txn:      order.Uint64(b[48:]),
	}
	switch {
	case order.Uint32(b) != fileMagic:
		return header{}, errors.New("not a database")
	case order.Uint32(b[4:]) != fileVersion:
		return header{}, errors.New("another version of the database format")
	case order.Uint64(b[56:]) != sum.Sum64():
		return header{}, errors.New("wrong checksum")
	case h.pageSize < 512 || h.pageSize > 1<<24:
		return header{}, fmt.Errorf("page size %d", h.pageSize)
	}
	return h, nil
}

// read reads a page and marks it as used.
func (p *pages) read(id uint64) (page, error) {
	if id < 2 || id >= uint64(len(p.used)) {
		return page{}, fmt.Errorf("page %d is outside of the file", id)
	}
	head := make([]byte, p.pageSize)
	if _, err := p.r.ReadAt(head, int64(id)*int64(p.pageSize)); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	if order.Uint64(head) != id {
		return page{}, fmt.Errorf("page %d calls itself %d", id, order.Uint64(head))
	}
	last := id + uint64(order.Uint32(head[12:]))
	if last >= uint64(len(p.used)) {
		return page{}, fmt.Errorf("page %d ends outside of the file", id)
	}
	for n := id; n <= last; n++ {
		if err := p.use(n); err != nil {
			return page{}, err
		}
	}
	pg := page{id: id, flags: order.Uint16(head[8:]), count: int(order.Uint16(head[10:])), data: head}
	if last > id {
		pg.data = make([]byte, int(last-id+1)*p.pageSize)
		if _, err := p.r.ReadAt(pg.data, int64(id)*int64(p.pageSize)); err != nil {
			return page{}, fmt.Errorf("page %d: %w", id, err)
		}
	}
	return pg, nil
}

// use marks one page as used.
func (p *pages) use(id uint64) error {
	if id < 2 || id >= uint64(len(p.used)) {
		return fmt.Errorf("page %d is outside of the file", id)
	}
	if p.used[id] {
		return fmt.Errorf("page %d is used twice", id)
	}
	p.used[id] = true
	return nil
}

// readFreelist marks the free pages.
func (p *pages) readFreelist(id uint64) error {
	if id == noFreelist {
		return errors.New("no list of free pages")
	}
	pg, err := p.read(id)
	if err != nil {
		return fmt.Errorf("list of free pages: %w", err)
	}
	ids, count := pg.data[pageHeader:], uint64(pg.count)
	if count == 0xFFFF { // then the real count comes first
		count, ids = order.Uint64(ids), ids[8:]
	}
	if pg.flags != flagFreelist || count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is no list of free pages", id)
	}
	for i := range count {
		if err := p.use(order.Uint64(ids[8*i:])); err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	return nil
}

// leaf is called with every element of a tree, in order. For a bucket, value
// is the bucket's header and what is stored inline with it.
type leaf func(isBucket bool, key, value []byte) error

// walk visits a tree from its root page.
func (p *pages) walk(root uint64, fn leaf) error {
	return (&walker{pages: p, fn: fn}).page(root, 0)
}

// walkBucket visits a bucket, given the value that its name has.
func (p *pages) walkBucket(value []byte, fn leaf) error {
	if len(value) < bucketSize {
		return fmt.Errorf("bucket header of %d bytes", len(value))
	}
	if root := order.Uint64(value); root != 0 {
		return p.walk(root, fn)
	}
	// A small bucket is a page of its own within the value.
	data := value[bucketSize:]
	if len(data) < pageHeader || order.Uint16(data[8:]) != flagLeaf {
		return errors.New("inline bucket without a page")
	}
	pg := page{flags: flagLeaf, count: int(order.Uint16(data[10:])), data: data}
	return (&walker{pages: p, fn: fn}).leaf(pg)
}

// walker is one walk through a tree.
type walker struct {
	pages *pages
	fn    leaf
	prev  []byte // the last key
	floor []byte // no key may be lower; from the branch above
	some  bool   // there was a key before
}

// page visits a page of the tree.
func (w *walker) page(id uint64, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d is too deep", id)
	}
	pg, err := w.pages.read(id)
	if err != nil {
		return err
	}
	switch pg.flags {
	case flagLeaf:
		if pg.count == 0 && depth > 0 {
			return fmt.Errorf("page %d is empty", id)
		}
		err = w.leaf(pg)
	case flagBranch:
		err = w.branch(pg, depth)
	default:
		err = fmt.Errorf("unknown kind %#x", pg.flags)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// branch visits the pages under a branch page.
func (w *walker) branch(pg page, depth int) error {
	if pg.count == 0 {
		return errors.New("branch without pages")
	}
	for i := range pg.count {
		e, off, err := pg.element(i)
		if err != nil {
			return err
		}
		key, err := pg.bytes(off+uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])))
		if err != nil {
			return err
		}
		if bytes.Compare(key, w.floor) < 0 || (w.some && bytes.Compare(key, w.prev) <= 0) {
			return errors.New("keys out of order")
		}
		w.floor = key
		if err := w.page(order.Uint64(e[8:]), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf visits the elements of a leaf page.
func (w *walker) leaf(pg page) error {
	for i := range pg.count {
		e, off, err := pg.element(i)
		if err != nil {
			return err
		}
		flags, at, klen := order.Uint32(e), off+uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:]))
		key, err := pg.bytes(at, klen)
		if err != nil {
			return err
		}
		value, err := pg.bytes(at+klen, uint64(order.Uint32(e[12:])))
		if err != nil {
			return err
		}
		if flags > 1 {
			return fmt.Errorf("element of unknown kind %#x", flags)
		}
		if bytes.Compare(key, w.floor) < 0 || (w.some && bytes.Compare(key, w.prev) <= 0) {
			return errors.New("keys out of order")
		}
		w.prev, w.some = key, true
		if err := w.fn(flags == 1, key, value); err != nil {
			return err
		}
	}
	return nil
}

// element returns the i-th element's fixed part and its offset.
func (pg page) element(i int) ([]byte, uint64, error) {
	off := pageHeader + i*elementSize
	if off+elementSize > len(pg.data) {
		return nil, 0, errors.New("more elements than fit")
	}
	return pg.data[off : off+elementSize], uint64(off), nil
}

// bytes returns a part of the page.
func (pg page) bytes(at, n uint64) ([]byte, error) {
	if at > uint64(len(pg.data)) || n > uint64(len(pg.data))-at {
		return nil, errors.New("element outside of its page")
	}
	return pg.data[at : at+n], nil
}
