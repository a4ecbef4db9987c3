; What every program needs besides its kernels and products.py. Other products call the BLAS of NumPy; sums over rows, which
; normalisation layers take at every step, and over columns, which biases take, are ours, and so are row-major copies of
; transposed weights; threads meet at a barrier; and the driver walks a program of (function, table) pairs, so that a
; whole training step is one call from Python.

define void @gemm(ptr %t) {
  %f = load ptr, ptr %t
  %p1 = getelementptr i64, ptr %t, i64 1
  %ta = load i32, ptr %p1
  %p2 = getelementptr i64, ptr %t, i64 2
  %tb = load i32, ptr %p2
  %p3 = getelementptr i64, ptr %t, i64 3
  %m = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %t, i64 4
  %n = load i64, ptr %p4
  %p5 = getelementptr i64, ptr %t, i64 5
  %k = load i64, ptr %p5
  %p6 = getelementptr i64, ptr %t, i64 6
  %a = load ptr, ptr %p6
  %p7 = getelementptr i64, ptr %t, i64 7
  %lda = load i64, ptr %p7
  %p8 = getelementptr i64, ptr %t, i64 8
  %b = load ptr, ptr %p8
  %p9 = getelementptr i64, ptr %t, i64 9
  %ldb = load i64, ptr %p9
  %p10 = getelementptr i64, ptr %t, i64 10
  %c = load ptr, ptr %p10
  %p11 = getelementptr i64, ptr %t, i64 11
  %ldc = load i64, ptr %p11
  call void %f(i32 101, i32 %ta, i32 %tb, i64 %m, i64 %n, i64 %k, float 1.0, ptr %a, i64 %lda, ptr %b, i64 %ldb, float 0.0, ptr %c, i64 %ldc)
  ret void
}

define void @gemv(ptr %t) {
  %f = load ptr, ptr %t
  %p1 = getelementptr i64, ptr %t, i64 1
  %ta = load i32, ptr %p1
  %p2 = getelementptr i64, ptr %t, i64 2
  %m = load i64, ptr %p2
  %p3 = getelementptr i64, ptr %t, i64 3
  %n = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %t, i64 4
  %a = load ptr, ptr %p4
  %p5 = getelementptr i64, ptr %t, i64 5
  %lda = load i64, ptr %p5
  %p6 = getelementptr i64, ptr %t, i64 6
  %x = load ptr, ptr %p6
  %p7 = getelementptr i64, ptr %t, i64 7
  %y = load ptr, ptr %p7
  call void %f(i32 101, i32 %ta, i64 %m, i64 %n, float 1.0, ptr %a, i64 %lda, ptr %x, i64 1, float 0.0, ptr %y, i64 1)
  ret void
}

; A row is summed in parts of 2048 elements, because rounding errors grow with the length of a sum.
define void @rowsum(ptr %t) {
entry:
  %rows = load i64, ptr %t
  %p1 = getelementptr i64, ptr %t, i64 1
  %cols = load i64, ptr %p1
  %p2 = getelementptr i64, ptr %t, i64 2
  %x = load ptr, ptr %p2
  %p3 = getelementptr i64, ptr %t, i64 3
  %xs = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %t, i64 4
  %y = load ptr, ptr %p4
  %p5 = getelementptr i64, ptr %t, i64 5
  %ys = load i64, ptr %p5
  br label %row
row:
  %r = phi i64 [0, %entry], [%r1, %rowend]
  %ox = mul i64 %r, %xs
  %qx = getelementptr i8, ptr %x, i64 %ox
  %oy = mul i64 %r, %ys
  %qy = getelementptr i8, ptr %y, i64 %oy
  br label %part
part:
  %kp = phi i64 [0, %row], [%k, %partend]
  %total = phi <16 x float> [zeroinitializer, %row], [%total1, %partend]
  %kend = add i64 %kp, 2048
  %kfit = icmp slt i64 %kend, %cols
  %limit = select i1 %kfit, i64 %kend, i64 %cols
  br label %vec
vec:
  %k = phi i64 [%kp, %part], [%kn, %vbody]
  %acc = phi <16 x float> [zeroinitializer, %part], [%acc1, %vbody]
  %kn = add i64 %k, 16
  %kok = icmp sle i64 %kn, %limit
  br i1 %kok, label %vbody, label %partend
vbody:
  %w = getelementptr float, ptr %qx, i64 %k
  %v = load <16 x float>, ptr %w, align 4
  %acc1 = fadd <16 x float> %acc, %v
  br label %vec
partend:
  %total1 = fadd <16 x float> %total, %acc
  %kmore = icmp sle i64 %kn, %cols
  br i1 %kmore, label %part, label %fold
fold:
  %s0 = call reassoc float @llvm.vector.reduce.fadd.v16f32(float 0.0, <16 x float> %total1)
  br label %tail
tail:
  %j = phi i64 [%k, %fold], [%jn, %tbody]
  %s = phi float [%s0, %fold], [%s1, %tbody]
  %jok = icmp slt i64 %j, %cols
  br i1 %jok, label %tbody, label %rowend
tbody:
  %wj = getelementptr float, ptr %qx, i64 %j
  %vj = load float, ptr %wj
  %s1 = fadd float %s, %vj
  %jn = add i64 %j, 1
  br label %tail
rowend:
  store float %s, ptr %qy
  %r1 = add i64 %r, 1
  %more = icmp slt i64 %r1, %rows
  br i1 %more, label %row, label %exit
exit:
  ret void
}

define void @colsum(ptr %t) {
entry:
  %rows = load i64, ptr %t
  %p1 = getelementptr i64, ptr %t, i64 1
  %cols = load i64, ptr %p1
  %p2 = getelementptr i64, ptr %t, i64 2
  %x = load ptr, ptr %p2
  %p3 = getelementptr i64, ptr %t, i64 3
  %xs = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %t, i64 4
  %y = load ptr, ptr %p4
  %whole = and i64 %cols, -16
  br label %row
row:
  %r = phi i64 [0, %entry], [%r1, %rowend]
  %ox = mul i64 %r, %xs
  %qx = getelementptr i8, ptr %x, i64 %ox
  %fresh = icmp eq i64 %r, 0
  br label %vec
vec:
  %k = phi i64 [0, %row], [%kn, %vbody]
  %kok = icmp slt i64 %k, %whole
  br i1 %kok, label %vbody, label %tail
vbody:
  %w = getelementptr float, ptr %qx, i64 %k
  %v = load <16 x float>, ptr %w, align 4
  %u = getelementptr float, ptr %y, i64 %k
  %there = load <16 x float>, ptr %u, align 4
  %before = select i1 %fresh, <16 x float> zeroinitializer, <16 x float> %there
  %after = fadd <16 x float> %before, %v
  store <16 x float> %after, ptr %u, align 4
  %kn = add i64 %k, 16
  br label %vec
tail:
  %j = phi i64 [%whole, %vec], [%jn, %tbody]
  %jok = icmp slt i64 %j, %cols
  br i1 %jok, label %tbody, label %rowend
tbody:
  %wj = getelementptr float, ptr %qx, i64 %j
  %vj = load float, ptr %wj
  %uj = getelementptr float, ptr %y, i64 %j
  %therej = load float, ptr %uj
  %beforej = select i1 %fresh, float 0.0, float %therej
  %afterj = fadd float %beforej, %vj
  store float %afterj, ptr %uj
  %jn = add i64 %j, 1
  br label %tail
rowend:
  %r1 = add i64 %r, 1
  %more = icmp slt i64 %r1, %rows
  br i1 %more, label %row, label %exit
exit:
  ret void
}

define void @transpose(ptr %t) {
entry:
  %rows = load i64, ptr %t
  %p1 = getelementptr i64, ptr %t, i64 1
  %cols = load i64, ptr %p1
  %p2 = getelementptr i64, ptr %t, i64 2
  %x = load ptr, ptr %p2
  %p3 = getelementptr i64, ptr %t, i64 3
  %xs = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %t, i64 4
  %y = load ptr, ptr %p4
  %p5 = getelementptr i64, ptr %t, i64 5
  %ys = load i64, ptr %p5
  br label %band
band:
  %rb = phi i64 [0, %entry], [%re, %bandend]
  %rn = add i64 %rb, 16
  %rfit = icmp slt i64 %rn, %rows
  %re = select i1 %rfit, i64 %rn, i64 %rows
  br label %tile
tile:
  %cb = phi i64 [0, %band], [%ce, %tileend]
  %cn = add i64 %cb, 16
  %cfit = icmp slt i64 %cn, %cols
  %ce = select i1 %cfit, i64 %cn, i64 %cols
  br label %row
row:
  %r = phi i64 [%rb, %tile], [%r1, %rowend]
  %oy = mul i64 %r, %ys
  %qy = getelementptr i8, ptr %y, i64 %oy
  %qx = getelementptr float, ptr %x, i64 %r
  br label %element
element:
  %c = phi i64 [%cb, %row], [%c1, %element]
  %ox = mul i64 %c, %xs
  %from = getelementptr i8, ptr %qx, i64 %ox
  %v = load float, ptr %from
  %to = getelementptr float, ptr %qy, i64 %c
  store float %v, ptr %to
  %c1 = add i64 %c, 1
  %cmore = icmp slt i64 %c1, %ce
  br i1 %cmore, label %element, label %rowend
rowend:
  %r1 = add i64 %r, 1
  %rmore = icmp slt i64 %r1, %re
  br i1 %rmore, label %row, label %tileend
tileend:
  %tmore = icmp slt i64 %ce, %cols
  br i1 %tmore, label %tile, label %bandend
bandend:
  %bmore = icmp slt i64 %re, %rows
  br i1 %bmore, label %band, label %exit
exit:
  ret void
}

declare float @llvm.vector.reduce.fadd.v16f32(float, <16 x float>)

define void @barrier(ptr %t) {
entry:
  %count = load ptr, ptr %t
  %pg = getelementptr i64, ptr %t, i64 1
  %gen = load ptr, ptr %pg
  %pn = getelementptr i64, ptr %t, i64 2
  %n = load i64, ptr %pn
  %py = getelementptr i64, ptr %t, i64 3
  %yield = load ptr, ptr %py
  %now = load atomic i64, ptr %gen acquire, align 8
  %before = atomicrmw add ptr %count, i64 1 acq_rel
  %arrived = add i64 %before, 1
  %last = icmp eq i64 %arrived, %n
  br i1 %last, label %release, label %spin
release:
  store atomic i64 0, ptr %count monotonic, align 8
  %next = add i64 %now, 1
  store atomic i64 %next, ptr %gen release, align 8
  ret void
spin:
  %turn = phi i64 [0, %entry], [%turn1, %again]
  %seen = load atomic i64, ptr %gen acquire, align 8
  %open = icmp ne i64 %seen, %now
  br i1 %open, label %exit, label %wait
wait:
  %turn1 = add i64 %turn, 1
  %part = and i64 %turn1, 4095
  %tired = icmp eq i64 %part, 0
  br i1 %tired, label %rest, label %again
rest:
  %ignored = call i32 %yield()
  br label %again
again:
  br label %spin
exit:
  ret void
}

define void @run(ptr %program, i64 %n) {
entry:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %loop, label %exit
loop:
  %i = phi i64 [0, %entry], [%i1, %loop]
  %at = shl i64 %i, 1
  %pf = getelementptr i64, ptr %program, i64 %at
  %f = load ptr, ptr %pf
  %pt = getelementptr i64, ptr %pf, i64 1
  %t = load ptr, ptr %pt
  call void %f(ptr %t)
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %loop, label %exit
exit:
  ret void
}
