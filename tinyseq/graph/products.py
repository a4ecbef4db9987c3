"""Matrix products of our own, as LLVM IR, for processors with vectors of sixteen floats.

BLAS copies the right-hand side into a layout of its own at every call, which the T skinny products of a time loop do
not pay back. Here a tile of the result stays in registers, and the right-hand side is read where it lies: on an AMD
EPYC (32, 128) @ (128, 512) takes 36 us where OpenBLAS takes 50. With vectors of eight, BLAS is as fast or faster.
"""

WIDTH = 16  # floats in a vector
ROWS, VECTORS = 8, 3  # of a tile: as many as there are registers for
DEPTH = 512  # of a block of both sides: three vectors of it stay in the second cache
MOST_ACROSS = 256  # columns of a left side that is read across its rows; BLAS is faster with more


def printed() -> str:
    """Return `product(table)`.

    The table holds m, n, k, then address and both strides of the left side, address and row stride of the right side,
    address and row stride of the result; strides count floats, and n is a multiple of WIDTH.
    """
    heights, widths = (ROWS, 4, 1), tuple(range(VECTORS, 0, -1))
    text = [f"declare {_VECTOR} @llvm.fma.v{WIDTH}f32({_VECTOR}, {_VECTOR}, {_VECTOR})"]
    text += [_tile(rows, vectors) for rows in heights for vectors in widths]
    return "\n".join([*text, _block(heights, widths), _DRIVER, ""])


def is_faster(m: int, n: int, across: bool) -> bool:
    """Tell whether `product` takes a product with m rows and n columns, and is not slower than BLAS.

    `across` says that the left side is read across its rows.
    """
    return m > 1 and n % WIDTH == 0 and not (across and m > MOST_ACROSS)


_VECTOR = f"<{WIDTH} x float>"


def _tile(rows: int, vectors: int) -> str:
    """Return a function for one tile of the result; with %more it is added to what is there."""
    cells = [(r, v) for r in range(rows) for v in range(vectors)]
    text = [
        f"define internal void @tile{rows}x{vectors}(ptr %a, i64 %ra, i64 %ca, ptr %b, i64 %rb, ptr %c, i64 %rc, "
        "i64 %depth, i1 %more) {",
        "entry:",
    ]
    for r in range(rows):
        text += [f"  %ia{r} = mul i64 %ra, {r}", f"  %a{r} = getelementptr float, ptr %a, i64 %ia{r}"]
        text += [f"  %ic{r} = mul i64 %rc, {r}", f"  %c{r} = getelementptr float, ptr %c, i64 %ic{r}"]
    text += [f"  %p{r}_{v} = getelementptr float, ptr %c{r}, i64 {v * WIDTH}" for r, v in cells]
    text += ["  br label %loop", "loop:", "  %k = phi i64 [0, %entry], [%k1, %loop]"]
    text += ["  %qb = phi ptr [%b, %entry], [%qb1, %loop]", "  %at = phi i64 [0, %entry], [%at1, %loop]"]
    text += [f"  %x{r}_{v} = phi {_VECTOR} [zeroinitializer, %entry], [%y{r}_{v}, %loop]" for r, v in cells]
    for v in range(vectors):
        text += [f"  %qb_{v} = getelementptr float, ptr %qb, i64 {v * WIDTH}"]
        text += [f"  %b{v} = load {_VECTOR}, ptr %qb_{v}, align 4"]
    for r in range(rows):
        text += [f"  %qa{r} = getelementptr float, ptr %a{r}, i64 %at", f"  %f{r} = load float, ptr %qa{r}"]
        text += [f"  %g{r} = insertelement {_VECTOR} undef, float %f{r}, i32 0"]
        text += [f"  %h{r} = shufflevector {_VECTOR} %g{r}, {_VECTOR} undef, <{WIDTH} x i32> zeroinitializer"]
    for r, v in cells:
        sum_ = f"{_VECTOR} %h{r}, {_VECTOR} %b{v}, {_VECTOR} %x{r}_{v}"
        text.append(f"  %y{r}_{v} = call {_VECTOR} @llvm.fma.v{WIDTH}f32({sum_})")
    text += ["  %qb1 = getelementptr float, ptr %qb, i64 %rb", "  %at1 = add i64 %at, %ca", "  %k1 = add i64 %k, 1"]
    text += ["  %on = icmp slt i64 %k1, %depth", "  br i1 %on, label %loop, label %done", "done:"]
    text += ["  br i1 %more, label %add, label %set", "set:"]
    text += [f"  store {_VECTOR} %y{r}_{v}, ptr %p{r}_{v}, align 4" for r, v in cells]
    text += ["  ret void", "add:"]
    for r, v in cells:
        text += [f"  %t{r}_{v} = load {_VECTOR}, ptr %p{r}_{v}, align 4"]
        text += [f"  %z{r}_{v} = fadd {_VECTOR} %t{r}_{v}, %y{r}_{v}"]
        text += [f"  store {_VECTOR} %z{r}_{v}, ptr %p{r}_{v}, align 4"]
    return "\n".join([*text, "  ret void", "}"])


def _block(heights: tuple[int, ...], widths: tuple[int, ...]) -> str:
    """Return a function that covers the result with tiles: the tallest and widest first, then what is left."""
    text = [
        "define internal void @block(ptr %a, i64 %ra, i64 %ca, ptr %b, i64 %rb, ptr %c, i64 %rc, i64 %m, i64 %n, "
        "i64 %depth, i1 %more) {",
        "entry:",
        "  br label %columns0",
    ]
    before, column = "entry", "0"
    for i, vectors in enumerate(widths):
        text += [f"columns{i}:", f"  %n{i} = phi i64 [{column}, %{before}], [%o{i}, %next{i}]"]
        text += [f"  %o{i} = add i64 %n{i}, {vectors * WIDTH}", f"  %fit{i} = icmp sle i64 %o{i}, %n"]
        text += [f"  br i1 %fit{i}, label %into{i}, label %past{i}", f"into{i}:"]
        text += [
            f"  %b{i} = getelementptr float, ptr %b, i64 %n{i}",
            f"  %c{i} = getelementptr float, ptr %c, i64 %n{i}",
        ]
        text += [f"  br label %rows{i}_0"]
        above, row = f"into{i}", "0"
        for j, rows in enumerate(heights):
            at = f"{i}_{j}"
            text += [f"rows{at}:", f"  %m{at} = phi i64 [{row}, %{above}], [%e{at}, %do{at}]"]
            text += [f"  %e{at} = add i64 %m{at}, {rows}", f"  %fit{at} = icmp sle i64 %e{at}, %m"]
            text += [f"  br i1 %fit{at}, label %do{at}, label %skip{at}", f"do{at}:"]
            text += [f"  %ia{at} = mul i64 %m{at}, %ra", f"  %a{at} = getelementptr float, ptr %a, i64 %ia{at}"]
            text += [f"  %ic{at} = mul i64 %m{at}, %rc", f"  %c{at} = getelementptr float, ptr %c{i}, i64 %ic{at}"]
            text += [
                f"  call void @tile{rows}x{vectors}(ptr %a{at}, i64 %ra, i64 %ca, ptr %b{i}, i64 %rb, ptr %c{at}, "
                "i64 %rc, i64 %depth, i1 %more)"
            ]
            text += [f"  br label %rows{at}", f"skip{at}:"]
            text += [f"  br label %rows{i}_{j + 1}" if j + 1 < len(heights) else f"  br label %next{i}"]
            above, row = f"skip{at}", f"%m{at}"
        text += [f"next{i}:", f"  br label %columns{i}", f"past{i}:"]
        text += [f"  br label %columns{i + 1}" if i + 1 < len(widths) else "  ret void"]
        before, column = f"past{i}", f"%n{i}"
    return "\n".join([*text, "}"])


_FIELDS = ("m", "n", "k", "a", "ra", "ca", "b", "rb", "c", "rc")
_DRIVER = "\n".join(
    [
        "define void @product(ptr %t) {",
        "entry:",
        *[
            line
            for i, name in enumerate(_FIELDS)
            for line in (
                f"  %t_{name} = getelementptr i64, ptr %t, i64 {i}",
                f"  %{name} = load {'ptr' if name in ('a', 'b', 'c') else 'i64'}, ptr %t_{name}",
            )
        ],
        "  br label %loop",
        "loop:",
        "  %at = phi i64 [0, %entry], [%next, %loop]",
        f"  %next = add i64 %at, {DEPTH}",
        "  %left = sub i64 %k, %at",
        f"  %long = icmp sgt i64 %left, {DEPTH}",
        f"  %depth = select i1 %long, i64 {DEPTH}, i64 %left",
        "  %ia = mul i64 %at, %ca",
        "  %qa = getelementptr float, ptr %a, i64 %ia",
        "  %ib = mul i64 %at, %rb",
        "  %qb = getelementptr float, ptr %b, i64 %ib",
        "  %more = icmp sgt i64 %at, 0",
        "  call void @block(ptr %qa, i64 %ra, i64 %ca, ptr %qb, i64 %rb, ptr %c, i64 %rc, i64 %m, i64 %n, "
        "i64 %depth, i1 %more)",
        "  br i1 %long, label %loop, label %exit",
        "exit:",
        "  ret void",
        "}",
    ]
)
