/* Philox4x64 with ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), as NumPy's generator has
 * it, for many addresses at once. The formulas are those of rng.py, against which this is tested. */
#include <stdint.h>

__extension__ typedef unsigned __int128 wide;

/* The first ``count`` numbers in [0, 1) of page page[i] of client[i]; numbers (clients x count) row by row. */
void uniforms(uint64_t k0, uint64_t k1, uint64_t round, int64_t clients, const uint64_t *client, const uint64_t *page,
              int64_t count, double *number) {
    for (int64_t i = 0; i < clients; i++)
        for (int64_t first = 0; first < count; first += 4) {
            uint64_t c[4] = {(uint64_t)first / 4 + 1, page[i], client[i], round}; /* NumPy counts up before its first */
            uint64_t a = k0, b = k1;
            for (int n = 0; n < 10; n++, a += 0x9E3779B97F4A7C15, b += 0xBB67AE8584CAA73B) {
                const wide x = (wide)0xD2E7470EE14C6C93 * c[0], y = (wide)0xCA5A826395121157 * c[2];
                c[0] = (uint64_t)(y >> 64) ^ c[1] ^ a;
                c[2] = (uint64_t)(x >> 64) ^ c[3] ^ b;
                c[1] = (uint64_t)y, c[3] = (uint64_t)x;
            }
            for (int64_t k = 0; k < 4 && first + k < count; k++) *number++ = (double)(c[k] >> 11) * 0x1p-53;
        }
}
