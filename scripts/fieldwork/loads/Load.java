import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.zip.*;

/** Threads that deflate and inflate, each with zlib's memory from malloc. */
public class Load {
    static int work(int number) throws Exception {
        Random random = new Random(number);
        int sum = 0;
        for (int turn = 0; turn < 4; turn++) {
            List<Deflater> deflaters = new ArrayList<>();
            for (int each = 0; each < 20; each++) {
                byte[] text = new byte[2000 + random.nextInt(60000)];
                random.nextBytes(text);
                Deflater deflater = new Deflater(6);
                deflater.setInput(text);
                deflater.finish();
                sum += deflater.deflate(new byte[text.length]);
                deflaters.add(deflater);
            }
            for (Deflater each : deflaters) each.end();
        }
        return sum;
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(16);
        List<Future<Integer>> results = new ArrayList<>();
        for (int each = 0; each < 64; each++) {
            final int number = each;
            results.add(pool.submit(() -> work(number)));
        }
        for (Future<Integer> each : results) each.get();
        Files.createFile(Path.of("ready"));
        System.in.read();
    }
}
