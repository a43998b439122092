/* SM2 signatures in a loop, with nothing around libcrypto: what nobody above it can beat. */

#include <openssl/crypto.h>
#include <openssl/evp.h>

static const unsigned char ID[] = "1234567812345678";

static EVP_PKEY *key;
static unsigned char signature[128];
static size_t signature_size;

const char *library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

static EVP_MD_CTX *begin(int sign)
{
    EVP_PKEY_CTX *key_context = NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context != NULL
        && (sign ? EVP_DigestSignInit_ex(context, &key_context, "SM3", NULL, NULL, key, NULL)
                 : EVP_DigestVerifyInit_ex(context, &key_context, "SM3", NULL, NULL, key, NULL)) == 1
        && EVP_PKEY_CTX_set1_id(key_context, ID, sizeof ID - 1) == 1;
    if (!ok) {
        EVP_MD_CTX_free(context);
        return NULL;
    }
    return context;
}

/* Both return 1 when every turn has succeeded. */

int sign(int turns, const unsigned char *message, size_t size)
{
    int ok = key != NULL || (key = EVP_PKEY_Q_keygen(NULL, NULL, "SM2")) != NULL;
    while (ok && turns-- > 0) {
        EVP_MD_CTX *context = begin(1);
        signature_size = sizeof signature;
        ok = context != NULL
            && EVP_DigestSign(context, signature, &signature_size, message, size) == 1;
        EVP_MD_CTX_free(context);
    }
    return ok;
}

int verify(int turns, const unsigned char *message, size_t size)
{
    int ok = key != NULL;
    while (ok && turns-- > 0) {
        EVP_MD_CTX *context = begin(0);
        ok = context != NULL
            && EVP_DigestVerify(context, signature, signature_size, message, size) == 1;
        EVP_MD_CTX_free(context);
    }
    return ok;
}
